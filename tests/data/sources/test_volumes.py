import pytest
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.data.sources import volumes

LABELS = ["liver", "tumor"]


@pytest.fixture
def root(tmp_path):
    for name in ("images/a.nii.gz", "images/deep/b.nii", "masks/a.nii.gz", "masks/deep/b.nii.gz", "masks/._a.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def listed(root, **options):
    return volumes.list_samples(root, volumes.Params(root=str(root), class_names=LABELS, **options))


def message(root, **options):
    with pytest.raises(InputError) as error:
        listed(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def table(root, text):
    (root / "t.csv").write_text(text, encoding="utf-8")
    return {"csv": "t.csv"}


def test_samples__of_two_folders_have_equal_names(root):
    first, second = listed(root)
    assert (first.path, first.patient_id, first.volume.mask) == ("images/a.nii.gz", None, root / "masks/a.nii.gz")
    assert (second.path, second.volume.mask) == ("images/deep/b.nii", root / "masks/deep/b.nii.gz")


def test_samples__folders_can_be_renamed_and_name_the_patient(root):
    (root / "images").rename(root / "ct")
    (root / "masks").rename(root / "truth")
    samples = listed(root, images="ct", masks="truth", patient_pattern=r"/(\w)\.")
    assert [sample.patient_id for sample in samples] == ["a", "b"]


def test_samples__image_without_mask_and_mask_without_image_are_an_error(root):
    (root / "images/c.nii").touch()
    (root / "masks/d.nii").touch()
    assert message(root) == (
        "2 of 4 cases lack a file: c has no mask 'masks/c.nii.gz'; d has no image 'images/d.nii.gz'. Add the files, or "
        "remove these cases from images and masks"
    )


def test_samples__two_files_of_a_case_are_an_error(root):
    (root / "images/a.nii").touch()
    assert message(root) == (
        "data.images=images: case a has several files (1 of 3 files are duplicates). Remove one of them"
    )


@pytest.mark.parametrize("folder", ["ct", "../ct", "/etc", "images/a.nii.gz"])
def test_samples__folder_must_be_in_the_root(root, folder):
    (root.parent / "ct").mkdir(exist_ok=True)
    text = message(root, masks=folder)
    assert text.startswith(f"data.masks={folder}: no such folder in {root} (folders: images, masks). Name the folder")


def test_samples__are_read_from_a_table(root):
    rows = "path,mask,patient,spacing,age\nimages/deep/b.nii,masks/deep/b.nii.gz,P2,1x1x3,7\n"
    options = table(root, f"{rows}images/a.nii.gz,masks/a.nii.gz,P1,,\n")
    first, second = listed(root, **options)
    assert [sample.patient_id for sample in (first, second)] == ["P1", "P2"]
    assert second.metadata == {"age": "7"}
    assert (first.volume.spacing, second.volume.spacing) == (None, (1.0, 1.0, 3.0))
    assert second.where == "t.csv line 2"
    assert volumes.inputs(root, volumes.Params(**options)) == [root / "t.csv"]
    assert volumes.inputs(root, volumes.Params()) == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("images/c.nii,masks/a.nii.gz", "1 of 1 cases lack a file: images/c has no image 'images/c.nii'"),
        (
            "images/a.nii.gz,masks/c.nii",
            "has no mask 'masks/c.nii'. Add the files, or remove these cases from t.csv",
        ),
        ("images/a.nii.gz,../m.nii", "t.csv line 2 (case images/a): '../m.nii' is outside of data.root (1 of 1 cases)"),
        ("images/a.nii.gz,masks/a.png", "'masks/a.png' is not a NIfTI file"),
        (
            "images/a.nii.gz,masks/a.nii.gz\nimages/a.nii.gz,m.nii",
            "is used twice (1 of 2 cases repeat a file)",
        ),
        ("", "data.csv=t.csv: the table has only one line, which was read as the header"),
    ],
)
def test_samples__invalid_table_is_an_error(root, row, problem):
    assert problem in message(root, **table(root, f"path,mask\n{row}\n"))


def test_samples__results_of_predict_are_no_table_of_volumes(root):
    results = table(root, "path,ml_liver,ml_tumor,flags,seconds\nimages/a.nii.gz,1,2,,0.5\n")
    assert message(root, **results) == (
        "data.csv=t.csv: results of `medtune predict`, without masks. Name the table with the columns path and mask"
    )


def test_samples__table_without_patients_is_reported(root, capsys):
    listed(root, **table(root, "path,mask,case\nimages/a.nii.gz,masks/a.nii.gz,P1\n"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "no column patient, so no patients are known; found path, mask, case. If case is the patient" in shown


def test_samples__missing_table_and_empty_folders_are_an_error(root):
    assert "data.csv=other.csv: no such file" in message(root, csv="other.csv")
    (root / "empty").mkdir()
    assert message(root, images="empty", masks="empty").startswith(f"data.root={root}: no volumes (.nii.gz, .nii)")


def test_samples__labels_need_names(root):
    with pytest.raises(InputError, match=r"data\.class_names=null: the labels of the masks have no names\. List the"):
        volumes.list_samples(root, volumes.Params(root=str(root)))
    assert volumes.classes(volumes.Params()) == ()
    assert volumes.classes(volumes.Params(class_names=LABELS)) == ("liver", "tumor")


def test_channels__default_is_one():
    assert volumes.channels(volumes.Params()) == ("image",)
    params = volumes.Params(channel_names=["T1", "T2"])
    assert volumes.channels(params) == ("T1", "T2")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"class_names": []}, "class_names"),
        ({"class_names": ["liver", "Liver"]}, "have the same name"),
        ({"class_names": ["background", "liver"]}, "is the background"),
        ({"class_names": [f"label {n}" for n in range(256)]}, "at most 254 labels"),
        ({"channel_names": []}, "channel_names"),
        ({"channel_names": ["T1", "T1"]}, "a name is repeated"),
        ({"channel_names": list("abcde")}, "at most 4 channels"),
        ({"csv": "t.csv", "masks": "truth"}, "csv lists the files"),
        ({"columns": {"label": "x"}}, "label"),
    ],
)
def test_params__reject_invalid_values(values, problem):
    with pytest.raises(ValidationError, match=problem):
        volumes.Params(**values)
