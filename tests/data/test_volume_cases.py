import os

import pytest

from medtune.config.errors import InputError
from medtune.data.volume_cases import VolumeCase, require_folder, strip_suffix, to_samples


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in (
        "images/a.nii.gz",
        "images/a2.nii.gz",
        "images/b.nii",
        "images/B2.nii",
        "masks/a.nii.gz",
        "masks/b.nii",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "masks/b.nii").touch()
    (tmp_path / "outside.nii").touch()
    return root


def case(name="a", images=("images/a.nii.gz",), mask="masks/a.nii.gz", where="", **values):
    return VolumeCase(name, images, mask, where, **values)


def message(root, *cases):
    with pytest.raises(InputError) as error:
        to_samples(root, cases, "dataset.json")
    assert "\n" not in str(error.value)
    return str(error.value)


B = case("b", ("./images//b.nii",), "masks\\b.nii", "t.csv line 2", patient="P1", metadata={"age": "7"},
         spacing=(1.0, 1.0, 2.0), site="x", splits=("test",))  # fmt: skip


def test_to_samples__all_values_are_kept(root):
    a, b = to_samples(root, [B, case(images=("images/a.nii.gz", "images/a2.nii.gz"))], "dataset.json")
    assert (a.path, a.label, a.patient_id, a.metadata) == ("images/a.nii.gz", "volume", None, {})
    assert a.volume.channels == (root / "images/a.nii.gz", root / "images/a2.nii.gz")
    assert a.volume.mask == root / "masks/a.nii.gz"
    assert a.volume.spacing is None
    assert (b.path, b.patient_id, b.metadata, b.where) == ("images/b.nii", "P1", {"age": "7"}, "t.csv line 2")
    assert (b.site, b.published_splits, b.volume.spacing) == ("x", ("test",), (1.0, 1.0, 2.0))
    assert b.volume.files == (root / "images/b.nii", root / "masks/b.nii")


def test_to_samples__patient_is_matched_in_the_path(root):
    assert [sample.patient_id for sample in to_samples(root, [case(), B], "x", r"/(\w)\.")] == ["a", "b"]
    with pytest.raises(InputError, match="finds no patient in images/a"):
        to_samples(root, [case()], "x", r"(Q\d)")


@pytest.mark.parametrize("path", ["../outside.nii", "images/../../outside.nii", "/etc/x.nii", "C:\\x.nii", "..\\x.nii"])
def test_to_samples__path_outside_of_the_root_is_an_error(root, path):
    shown = path.replace("\\", "/")
    text = message(root, B, case(mask=path), case("c", (path,), where="t.csv line 9"))
    assert text == (
        f"case a: {shown!r} is outside of data.root (2 of 3 cases). Write paths relative to data.root, without .."
    )
    text = message(root, case("c", (path,), where="t.csv line 9"))
    assert text.startswith(f"t.csv line 9 (case c): {shown!r} is outside of data.root (1 of 1 cases)")


def test_to_samples__link_outside_of_the_root_is_an_error(root):
    os.symlink(root.parent / "outside.nii", root / "images/c.nii")
    os.symlink("a.nii.gz", root / "images/d.nii.gz")
    text = message(root, case("c", ("images/c.nii",)))
    assert text == "case c: 'images/c.nii' is a link to a file outside of data.root (1 of 1 cases). Copy the file"
    assert len(to_samples(root, [case("d", ("images/d.nii.gz",))], "x")) == 1


def test_to_samples__other_file_types_are_an_error(root):
    text = message(root, B, case(images=("images/a.mha",)))
    assert text == (
        "case a: 'images/a.mha' is not a NIfTI file (.nii.gz, .nii) (1 of 2 cases). Convert the files to NIfTI"
    )


def test_to_samples__duplicates_are_an_error(root):
    text = message(root, B, case(where="t.csv line 3"), case("c", mask="masks/c.nii", where="t.csv line 4"))
    assert text == (
        "t.csv line 3 (case a) and t.csv line 4 (case c): 'images/a.nii.gz' is used twice (1 of 3 cases repeat a "
        "file). Remove the duplicates"
    )
    assert "case a and case c: 'masks/a.nii.gz' is used twice" in message(root, case(), case("c", ("images/b.nii",)))
    assert "(2 of 3 cases repeat a file)" in message(root, case(), case(), case())
    text = message(root, B, case(mask="images/a.nii.gz"))
    assert text.startswith("case a: 'images/a.nii.gz' is used twice (1 of 2 cases repeat a file)")


def test_to_samples__missing_files_are_an_error(root):
    lacking = [case(f"c{n}", (f"images/c{n}.nii",), f"masks/c{n}.nii") for n in range(4)]
    (root / "images/c0.nii").touch()
    (root / "masks/c1.nii").touch()
    text = message(root, B, *lacking)
    assert text == (
        "4 of 5 cases lack a file: c0 has no mask 'masks/c0.nii'; c1 has no image 'images/c1.nii'; c2 has no image "
        "'images/c2.nii'; and 1 more. Add the files, or remove these cases from dataset.json"
    )


def test_to_samples__similar_file_is_suggested(root):
    text = message(root, case(images=("images/a.nii.gz", "images/b2.nii")))
    assert "a has no image 'images/b2.nii' (there is 'images/B2.nii')" in text


def test_to_samples__folder_pipe_and_broken_link_are_missing(root):
    (root / "images/c.nii").mkdir()
    os.mkfifo(root / "images/d.nii")
    os.symlink("nowhere.nii", root / "images/e.nii")
    os.symlink("f.nii", root / "images/f.nii")
    cases = [case(name, (f"images/{name}.nii",), f"masks/{name}.nii") for name in "cdef"]
    for name in "cdef":
        (root / f"masks/{name}.nii").touch()
    assert message(root, *cases).startswith("4 of 4 cases lack a file: c has no image 'images/c.nii'")


def test_to_samples__unicode_forms_are_equal(root):
    (root / "images/e\u0301.nii").touch()
    [sample] = to_samples(root, [case(images=("images/\u00e9.nii",))], "x")
    assert sample.volume.channels == (root / "images/e\u0301.nii",)


@pytest.mark.parametrize(
    ("path", "stem"), [("x/a.nii.gz", "x/a"), ("a.NII", "a"), ("a.b.nii.gz", "a.b"), ("a.gz", None), ("nii", None)]
)
def test_strip_suffix__of_nifti_files(path, stem):
    assert strip_suffix(path) == stem


def test_require_folder__archive_is_an_error(tmp_path):
    (tmp_path / "x.tar").touch()
    with pytest.raises(InputError, match=r"x\.tar: not a folder\. data\.source=nnunet needs a folder of volumes"):
        require_folder(tmp_path / "x.tar", "nnunet")
    assert require_folder(tmp_path, "nnunet") == tmp_path
