"""What a task is: the protocol that each folder of medtune/tasks implements, and how its parts are found."""

from medtune.config import registry
from medtune.evaluation.metric import Metric

PACKAGE = "medtune.tasks"


def metrics(kind: str) -> tuple[Metric, ...]:
    """Every metric of a task, in the order of tables."""
    return registry.load_part(PACKAGE, kind, "metrics", "task.kind").METRICS
