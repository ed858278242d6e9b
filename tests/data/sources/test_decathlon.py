import json

import nibabel as nib
import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.source_listing import list_source
from medtune.data.sources import decathlon


@pytest.fixture
def root(tmp_path):
    decathlon.example(tmp_path)
    return tmp_path


def params(root):
    return decathlon.Params(root=str(root), split={"protocol": "image"})


def change(root, **values):
    file = root / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def message(root):
    with pytest.raises(InputError) as error:
        decathlon.list_samples(root, params(root))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_samples__are_the_training_volumes_without_patients(root):
    samples = decathlon.list_samples(root, params(root))
    assert [sample.path for sample in samples] == [f"imagesTr/case_{n:03d}.nii.gz" for n in range(12)]
    assert {sample.patient_id for sample in samples} == {None}
    assert samples[3].volume.mask == root / "labelsTr/case_003.nii.gz"
    assert samples[3].where == "dataset.json training[3]"
    assert decathlon.inputs(root, params(root)) == [root / "dataset.json"]


def test_names__come_from_dataset_json(root):
    assert decathlon.classes(params(root)) == ("upper organ", "lower organ", "lesion")
    assert decathlon.channels(params(root)) == ("MRI",)
    assert decathlon.classes(decathlon.Params()) == decathlon.channels(decathlon.Params()) == ()


def test_listing__changes_with_a_mask_and_counts_unused_files(root):
    (root / "imagesTs").mkdir()
    (root / "imagesTs/x.nii.gz").touch()
    listing = list_source(params(root), has_positive=False)
    assert listing.classes == ("upper organ", "lower organ", "lesion")
    assert listing.split_classes == ("volume",)
    assert listing.left_out.files == {"imagesTs": {".nii.gz": 1}}
    assert listing.left_out.system == {"._*": 12}
    with (root / "labelsTr/case_003.nii.gz").open("ab") as file:
        file.write(b"x")
    assert list_source(params(root), has_positive=False).hash != listing.hash


def test_samples__entries_of_macos_files_are_ignored(root):
    entries = json.loads((root / "dataset.json").read_text())["training"]
    macos = [{key: path.replace("Tr/", "Tr/._") for key, path in entry.items()} for entry in entries]
    change(root, training=[*macos, *entries])
    assert len(decathlon.list_samples(root, params(root))) == 12


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"training": []}, "dataset.json: key \"training\" lists no volumes"),
        ({"training": "all"}, "dataset.json: key \"training\" is \"all\": expected a list of volumes"),
        ({"training": ["./imagesTs/a.nii.gz"]}, "training[0]: \"./imagesTs/a.nii.gz\" does not name an image"),
        ({"training": [{"image": "a.nii", "label": 3}]},
         "training[0]: {\"image\": \"a.nii\", \"label\": 3} does not name"),
        ({"training": [{"image": "../a.nii", "label": "b.nii"}]},
         "dataset.json training[0] (case a): '../a.nii' is outside of data.root (1 of 1 cases)"),
        ({"labels": {"0": "background", "1": "a", "3": "b"}}, "the label numbers 2 have no name"),
        ({"labels": {"0": "background", "one": "a"}}, "label \"a\" has the unknown number \"one\""),
        ({"labels": ["background", "a"]}, "key \"labels\" is [\"background\", \"a\"]: expected a mapping"),
        ({"modality": {"1": "MRI"}}, "key \"modality\" is {\"1\": \"MRI\"}: expected a name for each number from 0"),
    ],
)  # fmt: skip
def test_samples__invalid_dataset_json_is_an_error(root, values, problem):
    change(root, **values)
    assert problem in message(root)


def test_samples__missing_image_or_mask_is_an_error(root):
    (root / "imagesTr/case_002.nii.gz").unlink()
    (root / "labelsTr/case_007.nii.gz").unlink()
    assert message(root) == (
        "2 of 12 cases lack a file: case_002 has no image 'imagesTr/case_002.nii.gz'; case_007 has no mask "
        "'labelsTr/case_007.nii.gz'. Add the files, or remove these cases from dataset.json"
    )


def test_samples__duplicate_case_is_an_error(root):
    entries = json.loads((root / "dataset.json").read_text())["training"]
    change(root, training=[*entries, entries[4]])
    assert message(root) == (
        "dataset.json training[4] (case case_004) and dataset.json training[12] (case case_004): "
        "'imagesTr/case_004.nii.gz' is used twice (1 of 13 cases repeat a file). Remove the duplicates"
    )


@pytest.mark.real
def test_samples__real_hippocampus(shared):
    params = decathlon.Params(root=str(shared / "hippocampus"), split={"protocol": "image"})
    listing = list_source(params, has_positive=False)
    assert listing.classes == ("Anterior", "Posterior")
    assert decathlon.channels(params) == ("MRI",)
    assert len(listing.samples) == 56
    assert {sample.patient_id for sample in listing.samples} == {None}
    assert listing.left_out.files == {"": {".md": 1, "without extension": 1}}
    for sample in listing.samples:
        image, mask = (nib.load(file) for file in sample.volume.files)
        assert image.shape == mask.shape
        np.testing.assert_allclose(image.affine, mask.affine, atol=1e-3)
        assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1, 2}
