import pytest

from medtune.config.errors import InputError
from medtune.data.sources import hcrf


def test_samples__class_folders_in_any_case_and_depth(tmp_path):
    for name in ("Normal/1.tif", "Abnormal/train/1.tif", "abnormal/normal/2.tif", "other/3.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {
        record.path: (record.label, record.patient_id) for record in hcrf.list_samples(tmp_path, hcrf.Params(root="x"))
    }
    assert found == {
        "Normal/1.tif": ("normal", None),
        "Abnormal/train/1.tif": ("abnormal", None),
        "abnormal/normal/2.tif": ("normal", None),
    }


def test_samples__no_images(tmp_path):
    with pytest.raises(InputError, match="normal or abnormal"):
        hcrf.list_samples(tmp_path, hcrf.Params(root="x"))


def test_card__says_that_leakage_cannot_be_excluded():
    assert "may be in both train and test" in hcrf.KNOWN_ISSUES[0]
    assert sum(hcrf.expected(hcrf.Params(root="x")).values()) == 700
