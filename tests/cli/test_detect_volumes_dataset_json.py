"""Data sets with dataset.json, and results of `medtune predict`, in `medtune init`."""

import json

import nibabel as nib
import numpy as np
import pytest

from medtune.cli.detect import detect
from medtune.config.errors import InputError
from medtune.data.sources import decathlon, nnunet
from tests.cli.init_project import images
from tests.cli.volume_files import folders, mask, volume

RESULTS = "path,ml_liver,ml_tumor,uncertainty_liver,uncertainty_tumor,flags,seconds\n0.nii.gz,1.5,0,,,,2.00\n"


def change(root, remove=(), **values):
    file = root / "dataset.json"
    content = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in content.items() if key not in remove}))


def message(root):
    with pytest.raises(InputError) as error:
        detect(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_detect__dataset_json_without_volumes_names_what_was_found(tmp_path):
    for number in range(3):
        images(tmp_path, f"imagesTr/{number}.png")
    content = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "liver"}, "training": []}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert message(tmp_path) == (
        f"{tmp_path}: dataset.json has the layout of decathlon, but there are no NIfTI files (.nii.gz, .nii). Found "
        "files: 3 .png, 1 .json. Copy the volumes to this folder"
    )


def test_detect__dataset_json_of_images_is_not_one_of_volumes(tmp_path):
    for label in "ab":
        images(tmp_path, *(f"{label}/{number}.png" for number in range(6)))
    content = {"labels": ["a", "b"], "training": [{"image": "a/0.png", "label": "a"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert detect(tmp_path).settings["data.source"] == "folder"


def test_detect__results_of_predict_are_no_masks(tmp_path):
    folders(tmp_path)
    for number in range(4):
        mask(tmp_path / "label_maps" / f"{number}.nii.gz", 1, 2, 3)
    (tmp_path / "label_maps" / "volumes.csv").write_text(RESULTS)
    (tmp_path / "volumes.csv").write_text(RESULTS)
    result = detect(tmp_path)
    assert result.settings["data.masks"] == "masks"
    assert "data.csv" not in result.settings
    assert dict(result.findings)["results"] == (
        "label_maps/volumes.csv was written by `medtune predict` and is not used"
    )
    for file in (tmp_path / "masks").iterdir():
        file.unlink()
    assert "(label_maps/volumes.csv lists label maps of `medtune predict`, which are not used)" in message(tmp_path)


def test_detect__several_data_sets_are_refused(tmp_path):
    nnunet.example(tmp_path / "Dataset001_A")
    assert "all volumes are in Dataset001_A" in message(tmp_path)
    nnunet.example(tmp_path / "Dataset002_Seg")
    first = tmp_path / "Dataset001_A"
    assert (
        message(tmp_path) == f"{tmp_path}: 2 data sets: Dataset001_A, Dataset002_Seg. Use one of them: --data {first}"
    )


def test_detect__nnunet_with_plain_nifti_and_the_earlier_key(tmp_path):
    for name in "abc":
        volume(tmp_path / "imagesTr" / f"{name}_0000.nii")
        mask(tmp_path / "labelsTr" / f"{name}.nii", 1)
    content = {"modality": {"0": "CT"}, "labels": {"background": 0, "liver": "1"}, "file_ending": ".nii"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    result = detect(tmp_path)
    assert result.settings["data.source"] == "nnunet"
    assert ("labels", "liver") in result.findings
    assert ("channels", "CT") in result.findings
    change(tmp_path, remove=["modality"])
    assert 'key "channel_names" is missing; found "labels", "file_ending"' in message(tmp_path)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "overlapping labels are not supported"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, 'the label "ignore" is not supported'),
        ({"channel_names": {str(k): f"c{k}" for k in range(5)}}, "5 channels; at most 4 are supported"),
        ({"file_ending": ".png"}, 'key "file_ending" is ".png"'),
    ],
)
def test_detect__unsupported_nnunet_is_refused(tmp_path, values, problem):
    for name in "abc":
        volume(tmp_path / "imagesTr" / f"{name}_0000.nii.gz")
        mask(tmp_path / "labelsTr" / f"{name}.nii.gz", 1)
    content = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, **values}))
    assert problem in message(tmp_path)


def test_detect__nnunet_version_1_has_a_file_per_channel(tmp_path):
    nnunet.example(tmp_path)
    names = sorted(file.name for file in (tmp_path / "labelsTr").iterdir())
    content = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "upper organ", "2": "lower organ", "3": "lesion"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": ["./imagesTs/x.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    result = detect(tmp_path)
    assert (result.settings["data.source"], dict(result.findings)["channels"]) == ("decathlon", "T1, T2")
    samples = decathlon.list_samples(tmp_path, decathlon.Params(root=str(tmp_path)))
    assert {len(sample.volume.channels) for sample in samples} == {2}


def test_detect__decathlon_with_modalities_in_the_fourth_axis(tmp_path):
    decathlon.example(tmp_path)
    for file in (tmp_path / "imagesTr").glob("[!.]*.nii.gz"):
        image = nib.load(file)
        values = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(np.stack([values, -values], axis=-1), image.affine), file)
    labels = {"background": 0, "upper organ": 1, "lower organ": 2, "lesion": 3}
    change(tmp_path, modality={"0": "T1", "1": "T2"}, labels=labels, tensorImageSize="4D", test=["./imagesTs/a.nii.gz"])
    result = detect(tmp_path)
    assert ("channels", "T1, T2") in result.findings
    assert ("labels", "upper organ, lower organ, lesion") in result.findings
    assert not any("channel" in warning for warning in result.warnings)
