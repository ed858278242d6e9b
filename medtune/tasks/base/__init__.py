"""What a task is: the protocol that each folder of medtune/tasks implements.

A task is one folder, `medtune/tasks/<kind>/`; its name is the value of `task.kind`. It is divided by the stage that
uses each part, so that a stage's cache key covers no code that the stage does not run:

    __init__.py   class Params(TaskParams): `kind: Literal["<kind>"] = "<kind>"` and the task's own options
    metrics       METRICS, a tuple of `medtune.evaluation.metric.Metric`, and `example(patients, seed)`: made-up
                  `PatientStats` with one patient per name, equal names with equal images, for the contract tests
    targets       `Targets`: what is predicted per image, checked and stored by stage data
    training      `Training`: the network, the loss, what an epoch is scored by
    evaluation    `Evaluation`: post-processing, decision, statistics per patient, report
    export        `Export`: the exported module, the description of its output, parity
    serving       what consumers do with the output: medtune/serving/tasks/<kind>.py, which the slim installation
                  contains, or serving.py in the task's folder (`medtune.serving.tasks`)

Each part is a module or a package that has the functions of its protocol: `training_protocol` (`Targets`, `Training`),
`evaluation_protocol` and `export_protocol` in this package. Importing `__init__` and `metrics` of a task imports no
torch: params are read with them.
"""

from typing import cast

from medtune.config import registry
from medtune.evaluation.metric import Metric
from medtune.tasks.base.evaluation_protocol import Evaluation as Evaluation
from medtune.tasks.base.evaluation_protocol import StoredPredictions as StoredPredictions
from medtune.tasks.base.export_protocol import Export as Export
from medtune.tasks.base.training_protocol import Move as Move
from medtune.tasks.base.training_protocol import Objective as Objective
from medtune.tasks.base.training_protocol import Targets as Targets
from medtune.tasks.base.training_protocol import Training as Training

PACKAGE = "medtune.tasks"


def metrics(kind: str) -> tuple[Metric, ...]:
    """Every metric of a task, in the order of tables."""
    return registry.load_part(PACKAGE, kind, "metrics", "task.kind").METRICS


def metric(kind: str, name: str) -> Metric | None:
    """Metric of that name; None where the task has none."""
    return next((known for known in metrics(kind) if known.name == name), None)


def targets(kind: str) -> Targets:
    """The part of a task that stage data uses."""
    return cast(Targets, registry.load_part(PACKAGE, kind, "targets", "task.kind"))


def training(kind: str) -> Training:
    """The part of a task that training uses; imports torch."""
    return cast(Training, registry.load_part(PACKAGE, kind, "training", "task.kind"))


def evaluation(kind: str) -> Evaluation:
    """The part of a task that evaluation, gate and benchmark use."""
    return cast(Evaluation, registry.load_part(PACKAGE, kind, "evaluation", "task.kind"))


def export(kind: str) -> Export:
    """The part of a task that export uses; imports torch."""
    return cast(Export, registry.load_part(PACKAGE, kind, "export", "task.kind"))
