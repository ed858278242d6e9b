"""W&B: what would be recorded where, and whether the server knows the key. Imports no wandb."""

import os
from importlib.util import find_spec

from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.serving.one_line import first_line
from medtune.tracking.run import resolve_mode
from medtune.tracking.server import KeyRefused, ServerUnreachable, check_key, server_url


def check_wandb(context: Context) -> CheckResult:
    """The mode that params and environment come to; online, the server is asked."""
    mode = resolve_mode(context.params)
    if mode == "disabled":
        return ok("disabled")
    if find_spec("wandb") is None:
        return warning(f"{mode}, but wandb is not installed: no stage is recorded", "make setup")
    if mode == "offline":
        return ok(f"offline: runs are kept in {context.paths.cache / 'wandb'}; medtune sync uploads them later")
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        return failure("online, but $WANDB_API_KEY is not set", "set it, or tracking.mode=offline")
    if context.offline:
        return ok(f"online, {server_url()} not asked (--offline)")
    try:
        check_key(key)
    except KeyRefused as error:
        return failure(first_line(error), "set another key, or tracking.mode=offline")
    except ServerUnreachable as error:
        fix = "nothing: stages record offline, medtune sync uploads later; WANDB_MODE=offline saves waiting"
        return warning(first_line(error), fix)
    return ok(f"online: {server_url()} answers and knows the key")
