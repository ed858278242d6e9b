"""W&B: what would be recorded where, and whether the server knows the key. Imports no wandb."""

import os
from importlib.util import find_spec

from medtune.doctor.result import Finding, Job, ok, warning, wrong
from medtune.serving.one_line import first_line
from medtune.tracking.run import wanted_mode
from medtune.tracking.server import KeyRefused, Unreachable, check, server


def wandb(job: Job) -> Finding:
    """The mode that params and environment come to; online, the server is asked."""
    mode = wanted_mode(job.params)
    if mode == "disabled":
        return ok("disabled")
    if find_spec("wandb") is None:
        return warning(f"{mode}, but wandb is not installed: no stage is recorded", "make setup")
    if mode == "offline":
        return ok(f"offline: runs are kept in {job.paths.cache / 'wandb'}; medtune sync uploads them later")
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        return wrong("online, but $WANDB_API_KEY is not set", "set it, or tracking.mode=offline")
    if job.offline:
        return ok(f"online, {server()} not asked (--offline)")
    try:
        check(key)
    except KeyRefused as error:
        return wrong(first_line(error), "set another key, or tracking.mode=offline")
    except Unreachable as error:
        todo = "nothing: stages record offline, medtune sync uploads later; WANDB_MODE=offline saves waiting"
        return warning(first_line(error), todo)
    return ok(f"online: {server()} answers and knows the key")
