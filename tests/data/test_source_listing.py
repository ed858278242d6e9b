import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.source_listing import list_source
from medtune.data.sources import breakhis, folder, phantom, synthetic
from tests.serving.test_dicom import write


@pytest.fixture
def root(tmp_path):
    overrides = folder.example(tmp_path)
    return folder.Params(root=str(tmp_path), **overrides)


def test_list_source__classes_and_samples(root):
    listed = list_source(root, has_positive=False)
    assert listed.classes == ("no", "yes")
    assert len(listed.samples) == 12
    assert listed.left_out.lines() == []
    assert list_source(root, has_positive=False).hash == listed.hash


def test_list_source__hash_depends_on_unused_files(root, tmp_path):
    before = list_source(root, has_positive=False).hash
    (tmp_path / "no" / ".DS_Store").touch()
    assert list_source(root, has_positive=False).hash == before
    (tmp_path / "no" / "x.gif").touch()
    assert list_source(root, has_positive=False).hash != before


def test_list_source__checks_every_source(tmp_path):
    breakhis.example(tmp_path)
    for name in ("SOB_B_F-14-007AB-200-001.png", "SOB_B_F-14-7AB-200-001.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"'7' .* and '007'"):
        list_source(breakhis.Params(root=str(tmp_path)), has_positive=False)


def test_list_source__counts_images_of_other_kinds(tmp_path):
    breakhis.example(tmp_path)
    (tmp_path / "other.png").touch()
    assert list_source(breakhis.Params(root=str(tmp_path)), has_positive=False).left_out.files == {"": {".png": 1}}


def test_list_source__generated_images():
    listed = list_source(synthetic.Params(patients=4, images_per_patient=2), has_positive=False)
    assert (len(listed.samples), listed.rejected, listed.left_out.lines()) == (8, (), [])


def test_list_source__download_without_root_is_an_error():
    with pytest.raises(InputError, match=r"data\.root=null: data\.download=true needs a folder"):
        list_source(breakhis.Params(download=True), has_positive=False)


@pytest.mark.parametrize(
    ("patients", "message"), [(("P1", "p1"), r"a/.*\.dcm and b/.*\.dcm\."), (("ANONYMOUS", "x"), "'ANONYMOUS'")]
)
def test_list_source__checks_patients_of_dicom_headers_before_hiding(tmp_path, patients, message):
    for label, patient in zip("ab", patients, strict=True):
        (tmp_path / label).mkdir()
        write(tmp_path / label, np.zeros((8, 8), np.uint8), PatientID=patient)
    with pytest.raises(InputError, match=message) as caught:
        list_source(folder.Params(root=str(tmp_path)), has_positive=False)
    assert "P1" not in str(caught.value)
    options = folder.Params(root=str(tmp_path), similar_patients="equal", allow_values=["anonymous"])
    patient_ids = [sample.patient_id for sample in list_source(options, has_positive=False).samples]
    assert len(set(patient_ids)) == (1 if patients[0] == "P1" else 2)
    assert all(patient.startswith("dicom-") for patient in patient_ids)


def test_list_source__volumes_are_split_by_a_property_of_the_patient():
    listed = list_source(phantom.Params(patients=6, size=16), has_positive=False)
    assert listed.classes == ("upper organ", "lower organ", "lesion")
    assert listed.split_classes == ("lesion", "no lesion")
    assert len(listed.samples) == 6
    assert list_source(phantom.Params(patients=7, size=16), has_positive=False).hash != listed.hash
