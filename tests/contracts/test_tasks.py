"""Contract of the tasks in medtune/tasks; a new folder is tested automatically."""

import subprocess
import sys

import pytest

from medtune.config import registry
from medtune.config.project import PROJECT
from medtune.config.schema import TaskParams
from medtune.evaluation.result import Predictions
from medtune.serving import tasks as serving
from medtune.tasks import base

TASKS = registry.plugin_names("medtune.tasks")
PARTS = {"targets": base.Targets, "training": base.Training, "evaluation": base.Evaluation, "export": base.Export}
SERVING = ("validate", "shape", "columns", "rows", "entry", "prediction", "summary")


def members(protocol: type) -> set[str]:
    """Return the names that a protocol requires."""
    declared = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return {name for name in declared if not name.startswith("_")}


@pytest.mark.parametrize("kind", TASKS)
def test_task__defines_its_params(kind):
    plugin = registry.load_plugin("medtune.tasks", kind, "task.kind")
    assert issubclass(plugin.Params, TaskParams)
    assert plugin.Params().kind == kind
    assert plugin.__doc__


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", TASKS)
def test_task__has_every_part_of_the_protocol(kind, part):
    module = registry.load_part("medtune.tasks", kind, part, "task.kind")
    assert members(PARTS[part]) - set(dir(module)) == set()


@pytest.mark.parametrize("kind", TASKS)
def test_task__predictions_support_subgroups(kind):
    module = base.evaluation(kind)
    returned = module.from_bundle.__annotations__["return"]
    predictions = getattr(module, returned) if isinstance(returned, str) else returned
    assert members(Predictions) - {*dir(predictions), *predictions.__annotations__} == set()


@pytest.mark.parametrize("kind", TASKS)
def test_task__is_served(kind):
    module = serving.find(kind)
    assert module is not None
    assert set(SERVING) - set(dir(module)) == set()


@pytest.mark.parametrize("kind", TASKS)
def test_task__params_and_metrics_import_no_torch(kind):
    code = (
        "import sys\nfrom medtune.config import load\nfrom medtune.tasks import base\n"
        f"base.metrics('{kind}')\nbase.targets('{kind}')\nload.load()\n"
        "heavy = {'torch', 'timm', 'scipy', 'sklearn', 'matplotlib', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=120)


def test_members__of_a_protocol():
    assert {"layout", "build", "objective"} == members(base.Training)
    assert {"MIN_CLASSES", "HAS_POSITIVE", "check", "encode"} == members(base.Targets)
