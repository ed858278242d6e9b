"""Whether the network can be trained and exported: the trial that `medtune train` makes. Imports no torch."""

from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.doctor.subprocess_check import CheckError
from medtune.serving.one_line import first_line

TRIAL_TIMEOUT_S = 240.0


def check_network(context: Context) -> CheckResult:
    """A training step of each stage and an ONNX export, with random weights; weights files are read too."""
    if context.quick:
        return ok("not tried (--quick); medtune data and medtune train try it")
    try:
        fault = context.questions.ask("medtune.stages.dry_run", context.params, TRIAL_TIMEOUT_S)["fault"]
    except CheckError as error:
        return warning(f"cannot be tried: {first_line(error)}", "medtune train tries it again")
    if fault:
        return failure(fault, "medtune params set KEY=VALUE")
    return ok("a training step of each stage and an ONNX export with random weights work")
