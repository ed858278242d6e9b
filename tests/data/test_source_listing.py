import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.source_listing import list_source
from medtune.data.sources import breakhis, folder, synthetic
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


def test_list_source__an_image_of_another_kind_is_counted(tmp_path):
    breakhis.example(tmp_path)
    (tmp_path / "other.png").touch()
    assert list_source(breakhis.Params(root=str(tmp_path)), has_positive=False).left_out.files == {"": {".png": 1}}


def test_list_source__drawn_images():
    listed = list_source(synthetic.Params(patients=4, images_per_patient=2), has_positive=False)
    assert (len(listed.samples), listed.rejected, listed.left_out.lines()) == (8, (), [])


def test_list_source__nowhere_to_download_to():
    with pytest.raises(InputError, match=r"data\.root=null: data\.download needs a folder"):
        list_source(breakhis.Params(download=True), has_positive=False)


@pytest.mark.parametrize(
    ("patients", "message"), [(("P1", "p1"), "'P1' .* and 'p1'"), (("ANONYMOUS", "x"), "'ANONYMOUS'")]
)
def test_list_source__patients_of_dicom_headers_are_checked_before_they_are_hidden(tmp_path, patients, message):
    for label, patient in zip("ab", patients, strict=True):
        (tmp_path / label).mkdir()
        write(tmp_path / label, np.zeros((8, 8), np.uint8), PatientID=patient)
    with pytest.raises(InputError, match=message):
        list_source(folder.Params(root=str(tmp_path)), has_positive=False)
    chosen = folder.Params(root=str(tmp_path), similar_patients="equal", allow_values=["anonymous"])
    found = [sample.patient_id for sample in list_source(chosen, has_positive=False).samples]
    assert len(set(found)) == (1 if patients[0] == "P1" else 2)
    assert all(patient.startswith("dicom-") for patient in found)
