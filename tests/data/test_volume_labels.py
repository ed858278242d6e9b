import numpy as np
import pytest

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.volume_inspection import describe
from medtune.data.volume_labels import check_labels
from medtune.data.volume_reading import LabeledVolume

SPLITS = np.array([["train"], ["train"], ["val"], ["test"]]).repeat(3, axis=1)
FIXED = SplitParams(protocol="column", folds=3, test_fold=0)


def check(*masks, allow=False):
    image = np.random.default_rng(0).normal(size=(1, 2, 2, 2)).astype(np.float32)
    volumes = [LabeledVolume(image, np.resize(np.array(mask, np.uint8), (2, 2, 2)), np.eye(4), "RAS") for mask in masks]
    facts = [describe(volume, 2) for volume in volumes]
    return check_labels(facts, SPLITS, ("liver", "tumor"), FIXED.model_copy(update={"allow_missing_classes": allow}))


def test_check__every_split_has_every_label():
    assert check([1, 2], [1, 2], [1, 2], [1, 2]) == []
    assert check([1], [2], [1, 2], [1, 2]) == []


def test_check__label_without_test_volume_is_noted():
    assert check([1, 2], [1], [1], [1]) == [
        "Label tumor (1 volume) is absent from val of test fold 0, test of test fold 0."
    ]


def test_check__label_without_training_volume_is_an_error_unless_allowed():
    with pytest.raises(InputError, match="test fold 0: no training volume has the label tumor"):
        check([1], [1], [2], [2])
    assert check([1], [1], [1, 2], [1, 2], allow=True) == [
        "Label tumor (2 volumes) is absent from train of test fold 0."
    ]
    with pytest.raises(InputError, match="no mask contains the label tumor"):
        check([1], [1], [1], [1], allow=True)
