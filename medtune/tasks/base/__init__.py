"""Task protocol, which each package in medtune/tasks implements.

A task is one folder, `medtune/tasks/<kind>/`. The folder's name is the value of `task.kind`. The folder contains the
parts below. Each stage uses other parts, so the cache key of a stage covers only code that the stage runs.

    __init__.py   class Params(TaskParams) with `kind: Literal["<kind>"] = "<kind>"` and the options of the task
    metrics       METRICS, a tuple of `medtune.evaluation.metric.Metric`, and `example(patients, seed)`, which returns
                  synthetic `PatientStats` for the contract tests. `patients` is a list of names, one per patient.
                  Patients with the same name get the same images
    targets       `Targets`: the target of each image, checked and stored by stage data
    training      `Training`: network, loss and validation scores
    evaluation    `Evaluation`: post-processing, decision, statistics per patient, report
    export        `Export`: exported module, description of its output, parity
    controls      optional: `controls(params)`, control runs that are trained and evaluated beside the model (see
                  `medtune.evaluation.control.Control`). This part must not import torch
    serving       interpretation of a bundle's output: medtune/serving/tasks/<kind>.py, which the slim installation
                  contains, or serving.py in the task's folder (see `medtune.serving.tasks`)

Each part is a module or a package with the functions of its protocol. This package defines the protocols in
`training_protocol` (`Targets`, `Training`), `evaluation_protocol` and `export_protocol`. The modules `__init__` and
`metrics` of a task must not import torch, because reading params imports them.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any, cast

from medtune.config import registry
from medtune.config.schema import Params
from medtune.evaluation.control import Control
from medtune.evaluation.metric import Metric
from medtune.evaluation.metric_notes import retitle
from medtune.tasks.base.evaluation_protocol import Evaluation as Evaluation
from medtune.tasks.base.export_protocol import Export as Export
from medtune.tasks.base.training_protocol import Objective as Objective
from medtune.tasks.base.training_protocol import SpatialTransform as SpatialTransform
from medtune.tasks.base.training_protocol import Targets as Targets
from medtune.tasks.base.training_protocol import Training as Training

PACKAGE = "medtune.tasks"


def metrics(kind: str, info: Mapping[str, Any] | None = None) -> tuple[Metric, ...]:
    """Return all metrics of a task, in table order.

    Args:
        kind: name of the task.
        info: content of dataset.json, for titles with the units of the data; None for the general titles.

    Returns:
        The metrics.
    """
    of_task = cast(tuple[Metric, ...], registry.load_part(PACKAGE, kind, "metrics", "task.kind").METRICS)
    return of_task if info is None else retitle(of_task, info)


def metric(kind: str, name: str) -> Metric | None:
    """Return the metric `name` of a task, or None if the task has no such metric."""
    return next((candidate for candidate in metrics(kind) if candidate.name == name), None)


def targets(kind: str) -> Targets:
    """Load the part of a task that stage data uses."""
    return cast(Targets, registry.load_part(PACKAGE, kind, "targets", "task.kind"))


def training(kind: str) -> Training:
    """Load the part of a task that training uses; imports torch."""
    return cast(Training, registry.load_part(PACKAGE, kind, "training", "task.kind"))


def evaluation(kind: str) -> Evaluation:
    """Load the part of a task that evaluation, gate and benchmark use."""
    return cast(Evaluation, registry.load_part(PACKAGE, kind, "evaluation", "task.kind"))


def export(kind: str) -> Export:
    """Load the part of a task that export uses; imports torch."""
    return cast(Export, registry.load_part(PACKAGE, kind, "export", "task.kind"))


def controls(params: Params) -> tuple[Control, ...]:
    """Return the control runs of a task; empty for a task without the part `controls`."""
    task = registry.load_plugin(PACKAGE, params.task.kind, "task.kind")
    if importlib.util.find_spec(f"{task.__name__}.controls") is None:
        return ()
    part = registry.load_part(PACKAGE, params.task.kind, "controls", "task.kind")
    return cast(tuple[Control, ...], part.controls(params))


def trained_controls(params: Params) -> dict[str, Params]:
    """Return the params of the control runs that are trained, by name."""
    return {control.name: control.params for control in controls(params) if control.params is not None}
