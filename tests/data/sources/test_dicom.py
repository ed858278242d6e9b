import shutil

import pydicom
import pytest
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.data.source_listing import list_source
from medtune.data.sources import dicom
from tests.stages.volume_folder import prepare, refusal


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("series")
    return root, dicom.example(root)


@pytest.fixture
def root(written, tmp_path):
    shutil.copytree(written[0], tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def options(root, written):
    return {"source": "dicom", "root": str(root), "class_names": written[1]["class_names"]}


def message(options):
    with pytest.raises(InputError) as error:
        list_source(dicom.Params(**options), has_positive=False)
    assert "\n" not in str(error.value)
    return str(error.value)


def edit(file, **values):
    dataset = pydicom.dcmread(file)
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.save_as(file)


def test_samples__of_folders(root, options):
    samples = dicom.list_samples(root, dicom.Params(**options))
    assert len(samples) == 12
    assert (samples[0].path, samples[0].volume.series) == ("images/P0_0", root / "images/P0_0")
    assert samples[0].volume.mask == root / "masks/P0_0.nii.gz"
    assert len(samples[0].volume.files) == 17
    assert samples[0].patient_id is None


def test_samples__of_a_table(root, options):
    (root / "t.csv").write_text(
        "path,mask,patient,sex\nimages/P0_1,masks/P0_1.nii.gz,A,f\nimages/P1_0,masks/P1_0.nii.gz,B,m\n"
    )
    samples = dicom.list_samples(root, dicom.Params(csv="t.csv", **options))
    assert [(sample.path, sample.patient_id, sample.metadata) for sample in samples] == [
        ("images/P0_1", "A", {"sex": "f"}),
        ("images/P1_0", "B", {"sex": "m"}),
    ]


def test_listing__hides_the_patients_of_the_files(options):
    samples = list_source(dicom.Params(**options), has_positive=False).samples
    assert len({sample.patient_id for sample in samples}) == 6
    assert all(sample.patient_id.startswith("dicom-") for sample in samples)


def test_listing__changes_with_a_slice(root, options):
    first = list_source(dicom.Params(**options), has_positive=False).hash
    edit(root / "images/P1_1/004.dcm", PatientComments="longer than before")
    assert list_source(dicom.Params(**options), has_positive=False).hash != first


def test_listing__series_without_a_patient_is_an_error(root, options):
    for file in (root / "images/P1_1").iterdir():
        edit(file, PatientID="")
    assert "1 of 12 images have no patient, for example images/P1_1" in message(options)
    named = {**options, "patient_pattern": "(P[0-9]+)_"}
    assert list_source(dicom.Params(**named), has_positive=False).samples[3].patient_id == "P1"


def test_listing__similar_patients_are_an_error_that_does_not_name_them(root, options):
    for file in (root / "images/P1_1").iterdir():
        edit(file, PatientID="p1 ")
    shown = message(options)
    assert shown.startswith("data.similar_patients=error: 1 patient with several spellings")
    assert "images/P1_0 and images/P1_1" in shown
    assert "p1" not in shown


def test_listing__slice_that_is_a_link_out_of_the_root_is_an_error(root, options, tmp_path):
    file = root / "images/P1_1/004.dcm"
    file.rename(root / "masks/slice")
    file.symlink_to(root / "masks/slice")
    assert len(list_source(dicom.Params(**options), has_positive=False).samples) == 12
    (root / "masks/slice").rename(tmp_path / "slice")
    file.unlink()
    file.symlink_to(tmp_path / "slice")
    assert message(options) == (
        "case P1_1: 'images/P1_1/004.dcm' is a link to a file outside of data.root. Copy the file"
    )


def test_listing__missing_folder_and_mask_are_errors(root, options):
    shutil.rmtree(root / "images/P1_1")
    (root / "masks/P2_0.nii.gz").unlink()
    assert message(options) == (
        "2 of 12 cases lack a file: P1_1 has no image 'images/P1_1'; P2_0 has no mask 'masks/P2_0.nii.gz'. Add "
        "the files, or remove these cases from images and masks"
    )


def test_listing__slices_without_a_folder_are_an_error(root, options):
    shutil.copy(root / "images/P1_1/004.dcm", root / "images")
    assert message(options).startswith("data.images=images: there are files next to the folders")
    assert "data.images=ct: no such folder" in message({**options, "images": "ct"})


def test_params__spacing_is_refused():
    with pytest.raises(ValidationError, match="DICOM files state their spacing"):
        dicom.Params(columns={"spacing": "mm"})


def test_stage__files_and_messages_have_no_identifiers(root, options, tmp_path, capsys):
    for number in range(2):
        for file in (root / f"images/P0_{number}").iterdir():
            edit(file, PatientName="Doe^Jane", PatientID="ID-7781", SeriesInstanceUID=f"1.2.40.{number}")
    prepare(options, tmp_path / "out")
    output = capsys.readouterr()
    files = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 5
    for content in (output.out.encode(), output.err.encode(), *files):
        assert not any(text in content for text in (b"Jane", b"ID-7781", b"1.2.40."))


def remove_slice(folder):
    (folder / "004.dcm").unlink()


def double_slice(folder):
    shutil.copy(folder / "004.dcm", folder / "100.dcm")
    edit(folder / "100.dcm", SOPInstanceUID="1.2.3.4.5.6")


def add_series(folder):
    shutil.copy(folder.parent / "P2_1" / "004.dcm", folder / "100.dcm")


def truncate(folder):
    content = (folder / "004.dcm").read_bytes()
    (folder / "004.dcm").write_bytes(content[:-100])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (remove_slice, "missing"),
        (double_slice, "two slices at one position"),
        (add_series, "two series in one folder"),
        (truncate, "004.dcm"),
        (lambda folder: edit(folder / "004.dcm", Rows=15), "004.dcm"),
    ],
)
def test_stage__damaged_series_is_named_in_one_line(root, options, tmp_path, capsys, damage, problem):
    damage(root / "images" / "P2_0")
    line = refusal(options, tmp_path, capsys)
    assert line.startswith("1 of 12 volumes cannot be used: images/P2_0: ")
    assert problem in line
