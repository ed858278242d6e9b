from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.config.external import external_params

DOCUMENT = {
    "classes": ["benign", "malignant"],
    "preprocessing": {"image_size": 96, "resize": "pad"},
    "params": {
        "seed": 7,
        "data": {"source": "folder", "label_map": {"B": "benign"}, "csv": "train.csv"},
        "evaluate": {"bootstrap": 500, "reliability_bins": 9, "confidence": 0.9, "by": ["scanner"], "removed_key": 1},
    },
}


def test_external_params__uses_values_of_the_bundle(tmp_path: Path):
    table = tmp_path / "labels.csv"
    table.touch()
    params = external_params(DOCUMENT, table, ["data.label_map={tumor: malignant}", "evaluate.by=[site]"])
    assert (params.data.image_size, params.data.resize, params.seed) == (96, "pad", 7)
    assert (params.data.root, params.data.csv) == (str(tmp_path), str(table))
    assert params.data.label_map == {"tumor": "malignant"}  # the map of the training data does not apply
    assert (params.evaluate.reliability_bins, params.evaluate.confidence, params.evaluate.by) == (9, 0.9, ["site"])


def test_external_params__bundle_without_params(tmp_path: Path):
    params = external_params({"preprocessing": {"image_size": 8, "resize": "squash"}}, tmp_path)
    assert (params.data.root, params.data.csv, params.evaluate.by) == (str(tmp_path), None, [])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("modle.head=x", "--set modle: has no effect on a finished bundle"),
        ("data=x", r"--set data=x: write data\.KEY=VALUE"),
        ("data.csv=x", r"--set data\.csv: --data names the images"),
        ("data.intensity.bits=12", r"--set data\.intensity: the bundle fixes this value"),
        ("evaluate.bootstrap=3", r"evaluate\.bootstrap=3: no longer supported, .* Delete this key\."),
    ],
)
def test_external_params__rejects_keys_without_effect(tmp_path: Path, assignment: str, message: str):
    with pytest.raises(InputError, match=message):
        external_params(DOCUMENT, tmp_path, [assignment])


def test_external_params__findings_need_a_table(tmp_path: Path):
    document = {**DOCUMENT, "task": {"kind": "multilabel"}}
    with pytest.raises(InputError, match=r"--data=.*: this bundle predicts several findings per image.*Name the table"):
        external_params(document, tmp_path)
