import pytest

from medtune.config import load
from medtune.config.errors import InputError

CHEST = ["data.source=medmnist", "data.subset=chestmnist"]
TABLE = ["data.source=folder", "data.csv=a.csv", "data.label_type=multi"]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (CHEST, "task.kind=classification: data.subset=chestmnist gives an image several labels. Use "
         "task.kind=multilabel"),
        (TABLE, "task.kind=classification: data.label_type=multi gives an image several labels. Use "
         "task.kind=multilabel"),
        (["task.kind=multilabel"], "task.kind=multilabel: source synthetic gives an image one label here. Use "
         "task.kind=classification"),
        (["task.kind=multilabel", *TABLE[:2]], "task.kind=multilabel: source folder gives an image one label here. Use "
         "task.kind=classification or data.label_type=multi"),
    ],
)  # fmt: skip
def test_task__that_does_not_fit_the_labels(sets, said):
    with pytest.raises(InputError) as error:
        load.load(sets=[*sets, "data.labels=null"] if "data.source=synthetic" in sets else sets)
    assert str(error.value) == said


@pytest.mark.parametrize("labels", [CHEST, TABLE])
def test_task__with_the_default_metrics(labels):
    params = load.load(sets=[*labels, "task.kind=multilabel"])
    assert params.frozen.monitor in params.metric_choices["frozen.monitor"]
    assert params.gate.metric in params.metric_choices["gate.metric"]
