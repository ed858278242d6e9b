"""Check of the recording of runs in W&B, and of the API key. This module does not import wandb."""

import os
from importlib.util import find_spec

from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.serving.one_line import first_line
from medtune.tracking.run import resolve_mode
from medtune.tracking.server import KeyRefused, ServerUnreachable, check_key, server_url


def check_wandb(context: Context) -> CheckResult:
    """Check the tracking mode. In online mode, also check the API key."""
    mode = resolve_mode(context.params)
    if mode == "disabled":
        return ok("disabled")
    if find_spec("wandb") is None:
        return warning(f"{mode}, but wandb is not installed: no stage is recorded", "run make setup")
    if mode == "offline":
        return ok(f"offline: runs are saved in {context.paths.cache / 'wandb'}; `medtune sync` uploads them")
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        return failure("online, but $WANDB_API_KEY is not set", "set it, or set tracking.mode=offline")
    if context.offline:
        return ok(f"online, {server_url()} not contacted (--offline)")
    try:
        check_key(key)
    except KeyRefused as error:
        return failure(first_line(error), "set another key, or set tracking.mode=offline")
    except ServerUnreachable as error:
        fix = "optional: set WANDB_MODE=offline to avoid waiting. `medtune sync` uploads the runs later"
        return warning(first_line(error), fix)
    return ok(f"online: {server_url()} responds and accepts the key")
