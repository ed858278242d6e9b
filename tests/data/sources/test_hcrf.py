import pytest

from medtune.config.errors import InputError
from medtune.data.sources import hcrf


def test_samples__class_folders_may_have_any_case_and_depth(tmp_path):
    for name in ("Normal/1.tif", "Abnormal/train/1.tif", "abnormal/normal/2.tif", "other/3.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    samples = {
        sample.path: (sample.label, sample.patient_id) for sample in hcrf.list_samples(tmp_path, hcrf.Params(root="x"))
    }
    assert samples == {
        "Normal/1.tif": ("normal", None),
        "Abnormal/train/1.tif": ("abnormal", None),
        "abnormal/normal/2.tif": ("normal", None),
    }


def test_samples__folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="normal or abnormal"):
        hcrf.list_samples(tmp_path, hcrf.Params(root="x"))


def test_known_issues__state_that_leakage_cannot_be_excluded():
    assert "may be in both train and test" in hcrf.KNOWN_ISSUES[0]
    assert sum(hcrf.expected(hcrf.Params(root="x")).values()) == 700
