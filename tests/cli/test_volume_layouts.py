"""Layouts of data sets of volumes."""

import pytest

from medtune.cli.volume_layouts import by_dataset_json, by_folders, by_table
from medtune.config.errors import InputError


@pytest.mark.parametrize(
    ("content", "source"),
    [
        ('{"labels": {"background": 0}, "channel_names": {"0": "CT"}}', "nnunet"),
        ('{"labels": {"0": "background"}, "modality": {"0": "CT"}}', "decathlon"),
        ('{"labels": {"background": 0}, "modality": {"0": "CT"}, "file_ending": ".nii"}', "nnunet"),
        ('{"labels": {}, "training": [{"image": "a.nii.gz", "label": "b.nii.gz"}]}', "decathlon"),
        ('{"labels": ["cat", "dog"]}', None),
        ('{"labels": ["cat", "dog"], "modality": "photo"}', None),
        ('{"labels": {}, "training": [{"image": "a.png", "label": "cat"}, "b.png"]}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_by_dataset_json__needs_the_keys_of_a_layout(tmp_path, content, source):
    assert by_dataset_json(tmp_path) is None
    (tmp_path / "dataset.json").write_text(content)
    layout = by_dataset_json(tmp_path)
    assert (None if layout is None else layout.settings["data.source"]) == source


def test_by_table__finds_columns_by_their_files(tmp_path):
    (tmp_path / "a.csv").write_text("age,sex\n1,f\n")
    (tmp_path / "b.csv").write_text("ct,case_id,liver_seg\na.nii.gz,1,b.nii.gz\nc.nii,2,d.nii\n")
    layout = by_table(tmp_path, None)
    assert layout is not None
    assert layout.settings == {
        "data.source": "volumes",
        "data.csv": "b.csv",
        "data.columns.path": "ct",
        "data.columns.mask": "liver_seg",
    }  # a case that occurs once is not a patient


def test_by_table__case_that_occurs_twice_is_a_patient(tmp_path):
    (tmp_path / "b.csv").write_text("path,case_id,mask\na.nii.gz,1,b.nii.gz\nc.nii,1,d.nii\n")
    layout = by_table(tmp_path, "b.csv")
    assert layout is not None
    assert layout.settings == {"data.source": "volumes", "data.csv": "b.csv", "data.columns.patient": "case_id"}


def test_by_table__several_volumes_per_row_are_refused(tmp_path):
    (tmp_path / "b.csv").write_text("t1,t2,mask\na.nii,b.nii,c.nii\n")
    with pytest.raises(InputError, match="columns t1, t2 could all be the path"):
        by_table(tmp_path, "b.csv")


def test_by_table__results_of_predict_are_ignored(tmp_path):
    results = "path,ml_liver,uncertainty_liver,flags,seconds\nimages/0.nii.gz,1.5,,,2.00\n"
    (tmp_path / "a.csv").write_text(results)
    assert by_table(tmp_path, None) is None
    with pytest.raises(InputError, match=r"a\.csv: results of `medtune predict`, without masks"):
        by_table(tmp_path, "a.csv")
    (tmp_path / "b.csv").write_text("path,mask\na.nii.gz,b.nii.gz\n")
    layout = by_table(tmp_path, None)
    assert layout is not None
    assert layout.settings["data.csv"] == "b.csv"


def test_by_folders__chooses_the_pair_with_most_equal_names():
    files = ["images/0.nii", "images/1.nii", "masks/0.nii.gz", "masks/1.nii.gz", "old_masks/0.nii.gz", "x.nii"]
    layout = by_folders(None, files)
    assert layout is not None
    assert (layout.settings["data.images"], layout.settings["data.masks"]) == ("images", "masks")
    assert by_folders(None, ["a/0.nii", "b/1.nii"]) is None


def test_by_folders__unclear_folders_and_nnunet_without_json_are_refused():
    with pytest.raises(InputError, match="it is unclear which has the masks"):
        by_folders(None, ["a/0.nii", "b/0.nii"])
    with pytest.raises(InputError, match=r"no dataset\.json"):
        by_folders(None, ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"])
