"""Check that the network can be trained and exported, as `medtune train` does. This module does not import torch."""

from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.doctor.subprocess_check import CheckError
from medtune.serving.one_line import first_line

TRIAL_TIMEOUT_S = 240.0


def check_network(context: Context) -> CheckResult:
    """Check the weights, and run one training step per stage and an ONNX export with random weights."""
    if context.quick:
        return ok("skipped (--quick); `medtune data` and `medtune train` run it")
    try:
        fault = context.questions.ask("medtune.stages.dry_run", context.params, TRIAL_TIMEOUT_S)["fault"]
    except CheckError as error:
        return warning(f"the check failed: {first_line(error)}", "`medtune train` repeats it")
    if fault:
        return failure(fault, "fix params.yaml with `medtune params set KEY=VALUE`")
    return ok("one training step per stage and an ONNX export work with random weights")
