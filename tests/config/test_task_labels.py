import pytest

from medtune.config import load
from medtune.config.errors import InputError
from medtune.config.task_labels import check_task
from medtune.data.sources import phantom

CHEST = ["data.source=medmnist", "data.subset=chestmnist"]
TABLE = ["data.source=folder", "data.csv=a.csv", "data.label_type=multi"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (CHEST, "task.kind=classification: data.subset=chestmnist allows several labels per image. Use "
         "task.kind=multilabel"),
        (TABLE, "task.kind=classification: data.label_type=multi allows several labels per image. Use "
         "task.kind=multilabel"),
        (["task.kind=multilabel"], "task.kind=multilabel: data.source=synthetic has one label per image. Use "
         "task.kind=classification"),
        (["data.source=phantom"], "task.kind=classification: data.source=phantom contains volumes, but this task needs "
         "images. Use another data.source"),
        (["task.kind=multilabel", "data.source=phantom"], "task.kind=multilabel: data.source=phantom contains volumes, "
         "but this task needs images. Use another data.source"),
        (["task.kind=multilabel", *TABLE[:2]], "task.kind=multilabel: data.source=folder has one label per image. Use "
         "task.kind=classification or data.label_type=multi"),
    ],
)  # fmt: skip
def test_check_task__rejects_other_labels(sets, message):
    with pytest.raises(InputError) as error:
        load.load(sets=[*sets, "data.labels=null"] if "data.source=synthetic" in sets else sets)
    assert str(error.value) == message


def test_check_task__accepts_volumes_for_segmentation():
    check_task("segmentation", phantom.Params())


@pytest.mark.parametrize("labels", [CHEST, TABLE])
def test_check_task__accepts_the_default_metrics(labels):
    params = load.load(sets=[*labels, "task.kind=multilabel"])
    assert params.frozen.monitor in params.metric_choices["frozen.monitor"]
    assert params.gate.metric in params.metric_choices["gate.metric"]
