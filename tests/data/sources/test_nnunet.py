import json

import pytest

from medtune.config.errors import InputError
from medtune.data.sources import nnunet


@pytest.fixture
def root(tmp_path):
    for name in ("imagesTr/a_1_0000.nii.gz", "imagesTr/a_1_0001.nii.gz", "labelsTr/a_1.nii.gz",
                 "imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/b.nii.gz",
                 "imagesTr/._b_0000.nii.gz", "imagesTs/c_0000.nii.gz"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write(tmp_path)
    return tmp_path


def write(root, **values):
    content = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "liver": 1, "tumor": 2},
               "numTraining": 2, "file_ending": ".nii.gz"}  # fmt: skip
    (root / "dataset.json").write_text(json.dumps({**content, **values}))


def params(root, **options):
    return nnunet.Params(root=str(root), **options)


def message(root):
    with pytest.raises(InputError) as error:
        nnunet.list_samples(root, params(root))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_samples__have_all_channels_and_the_mask(root):
    first, second = nnunet.list_samples(root, params(root))
    assert (first.path, first.patient_id) == ("imagesTr/a_1_0000.nii.gz", None)
    assert first.volume.channels == (root / "imagesTr/a_1_0000.nii.gz", root / "imagesTr/a_1_0001.nii.gz")
    assert first.volume.mask == root / "labelsTr/a_1.nii.gz"
    assert second.volume.mask == root / "labelsTr/b.nii.gz"
    assert nnunet.inputs(root, params(root)) == [root / "dataset.json"]


def test_samples__patient_is_matched_in_the_path(root):
    samples = nnunet.list_samples(root, params(root, patient_pattern=r"/([a-z])_"))
    assert [sample.patient_id for sample in samples] == ["a", "b"]


def test_names__come_from_dataset_json(root):
    assert nnunet.classes(params(root)) == ("liver", "tumor")
    assert nnunet.channels(params(root)) == ("T1", "T2")
    assert nnunet.classes(nnunet.Params()) == nnunet.channels(nnunet.Params()) == ()


def test_samples__missing_files_are_an_error(root):
    (root / "labelsTr/a_1.nii.gz").unlink()
    (root / "imagesTr/b_0001.nii.gz").unlink()
    (root / "labelsTr/d.nii.gz").touch()
    assert message(root) == (
        "3 of 3 cases lack a file: a_1 has no mask 'labelsTr/a_1.nii.gz'; b has no image 'imagesTr/b_0001.nii.gz'; d "
        "has no image 'imagesTr/d_0000.nii.gz'. Add the files, or remove these cases from imagesTr and labelsTr"
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}},
         "label \"whole\" is a region of several numbers, and overlapping labels are not supported"),
        ({"regions_class_order": [1, 2]},
         "key \"regions_class_order\" is set, and overlapping labels are not supported"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "the label \"ignore\" is not supported"),
        ({"labels": {"background": 0, "liver": 1, "tumor": 3}}, "the label numbers 2 have no name"),
        ({"labels": {"background": 0, "liver": 1, "tumor": 1}}, "labels \"liver\" and \"tumor\" both have number 1"),
        ({"labels": {"background": 0, "liver": "one"}}, "label \"liver\" has the unknown number \"one\""),
        ({"labels": [0, 1]}, "key \"labels\" is [0, 1]: expected a mapping, such as {\"background\": 0}"),
        ({"channel_names": {"0": "T1"}}, "imagesTr: a_1_0001.nii.gz has a channel that is not in channel_names (1 "
         "channels; 2 of 4 files)"),
        ({"channel_names": {"0": "a", "1": "b", "2": "c"}}, "2 of 2 cases lack a file: a_1 has no image "
         "'imagesTr/a_1_0002.nii.gz'"),
        ({"file_ending": ".mha"},
         "key \"file_ending\" is \".mha\": expected \".nii.gz\" or \".nii\". Convert the files to NIfTI"),
        ({"file_ending": ".nii"}, "no .nii files in imagesTr"),
        ({"numTraining": 3}, "key \"numTraining\" is 3, but imagesTr has 2 cases. Complete the folder"),
        ({"dataset": {}}, "it lists files under key \"dataset\", which is not supported"),
    ],
)  # fmt: skip
def test_samples__invalid_dataset_json_is_an_error(root, values, problem):
    write(root, **values)
    assert problem in message(root)


def test_samples__layout_of_the_decathlon_is_an_error(root):
    (root / "dataset.json").write_text('{"training": [], "labels": {}, "modality": {}}')
    assert message(root) == "data.source=nnunet: dataset.json has the layout of decathlon. Use data.source=decathlon"


def test_samples__file_without_channel_is_an_error(root):
    (root / "imagesTr/c.nii.gz").touch()
    assert message(root) == (
        "imagesTr: c.nii.gz is not named CASE_0000.nii.gz (1 of 5 files). Add the number of the channel to the names"
    )


def test_samples__missing_folder_is_an_error(root):
    (root / "labelsTr").rename(root / "labels")
    assert message(root) == (
        f"data.root={root}: no folder labelsTr; found imagesTr, imagesTs, labels. Set data.root to the "
        "data set's folder"
    )


def test_samples__file_outside_of_the_root_is_an_error(root):
    (root / "imagesTr/b_0000.nii.gz").unlink()
    outside = root.parent / f"{root.name}_outside.nii.gz"
    outside.touch()
    (root / "imagesTr/b_0000.nii.gz").symlink_to(outside)
    assert message(root).startswith("case b: 'imagesTr/b_0000.nii.gz' is a link to a file outside of data.root (1 of 2")
