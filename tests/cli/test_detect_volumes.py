"""Detection of volumes with masks in `medtune init`."""

import importlib.util
import json
import shlex

import pytest

from medtune.cli.detect import detect
from medtune.cli.detect_volumes import detect_volumes
from medtune.cli.init import FAST_SEGMENT_COMMAND
from medtune.cli.main import call
from medtune.config import load
from medtune.config.errors import InputError
from medtune.config.volume_model import UNUSED
from medtune.data.sources import decathlon, dicom, nnunet, volumes
from tests.cli.init_project import images
from tests.cli.volume_files import folders, mask, volume


def test_detect__decathlon_has_no_patients(tmp_path):
    decathlon.example(tmp_path)
    result = detect(tmp_path)
    assert result.settings["data.source"] == "decathlon"
    assert result.settings["task.kind"] == "segmentation"
    assert result.settings["data.split.protocol"] == "image"
    assert ("labels", "upper organ, lower organ, lesion") in result.findings
    assert ("channels", "MRI") in result.findings
    assert dict(result.findings)["patients"].startswith("unknown")


def test_detect__ct_is_normalized_by_its_labels(tmp_path):
    decathlon.example(tmp_path)
    file = tmp_path / "dataset.json"
    assert "data.intensity.rule" not in detect(tmp_path).settings
    file.write_text(file.read_text().replace("MRI", "CT"))
    assert detect(tmp_path).settings["data.intensity.rule"] == "foreground"


def test_detect__nnunet_suggests_a_pattern_of_patients(tmp_path):
    nnunet.example(tmp_path)
    volume(tmp_path / "imagesTs" / "x_0000.nii.gz")
    (tmp_path / "imagesTr" / "._P0_0_0000.nii.gz").write_bytes(b"\0")
    result = detect(tmp_path)
    assert result.settings["data.source"] == "nnunet"
    assert ("channels", "T1, T2") in result.findings
    assert result.findings[0][1].startswith("12 in ")
    assert "6 possible patient ids" in result.warnings[0]
    assert result.commands[0].startswith("medtune params set data.split.protocol=patient 'data.patient_pattern=")
    assert dict(result.findings)["not used"].startswith("1 NIfTI files, for example imagesTs/x_0000.nii.gz")


def test_detect__table_with_patients(tmp_path):
    volumes.example(tmp_path)
    result = detect(tmp_path)
    assert (result.settings["data.source"], result.settings["data.csv"]) == ("volumes", "volumes.csv")
    assert "data.split.protocol" not in result.settings
    assert result.settings["data.split.folds"] == 3
    assert ("patients", "6, from the table") in result.findings
    assert result.settings["data.class_names"] == ["label_1", "label_2", "label_3"]
    assert "do not name the labels" in result.warnings[0]
    assert result.commands == ['medtune params set \'data.class_names=["NAME_1", "NAME_2", "NAME_3"]\'']


def test_detect__two_folders_with_a_fourth_axis(tmp_path):
    for number in range(3):
        volume(tmp_path / "scans" / f"{number}.nii", channels=2)
        mask(tmp_path / "segmentations" / f"{number}.nii.gz", 1, 3)
    images(tmp_path, "screenshots/a.png")
    result = detect(tmp_path)
    assert (result.settings["data.images"], result.settings["data.masks"]) == ("scans", "segmentations")
    assert result.settings["data.channel_names"] == ["channel_0", "channel_1"]
    assert any(warning.startswith("label 2 is in none of the masks") for warning in result.warnings)
    assert ("size", "4 x 5 x 6 voxels of 1 x 1 x 1 mm (3 headers read)") in result.findings
    assert ("not used", "0 NIfTI files, and 1 images") in result.findings


def test_detect__series_with_masks_name_their_patients(tmp_path):
    dicom.example(tmp_path)
    result = detect(tmp_path)
    assert (result.settings["data.source"], result.settings["data.masks"]) == ("dicom", "masks")
    assert result.findings[0][1].startswith("12 in ")
    assert ("patients", "6, from the DICOM files") in result.findings


def test_detect__images_are_detected_as_before(tmp_path):
    images(tmp_path, *(f"{label}/{number}.png" for label in "ab" for number in range(6)))
    before = detect(tmp_path)
    volume(tmp_path / "a" / "x.nii.gz")
    assert detect_volumes(tmp_path) is None
    assert detect(tmp_path) == before
    assert before.settings["data.source"] == "folder"


def test_detect__volumes_without_masks_are_refused(tmp_path):
    volume(tmp_path / "images" / "0.nii.gz")
    with pytest.raises(InputError, match="1 NIfTI files, but no masks that belong to them"):
        detect(tmp_path)
    (tmp_path / "labels.csv").write_text("path,label\nimages/0.nii.gz,a\n")
    with pytest.raises(InputError, match="no column is the"):
        detect(tmp_path)


def test_detect__missing_mask_is_named(tmp_path):
    folders(tmp_path)
    (tmp_path / "masks" / "2.nii.gz").unlink()
    with pytest.raises(InputError, match="1 of 4 cases lack a file: 2 has no mask"):
        detect(tmp_path)


def test_detect__data_set_in_a_folder_below_is_named(tmp_path):
    decathlon.example(tmp_path / "Task04")
    with pytest.raises(InputError, match=f"Use --data {tmp_path / 'Task04'}"):
        detect(tmp_path)


def test_detect__without_nibabel_names_the_extra(tmp_path, monkeypatch):
    folders(tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nibabel" else found(name))
    with pytest.raises(InputError, match=r'Run pip install "medtune\[segment\]"'):
        detect(tmp_path)


def test_init__no_label_is_positive(tmp_path, capsys):
    folders(tmp_path / "scans")
    arguments = ["init", str(tmp_path / "project"), "--data", str(tmp_path / "scans"), "--positive", "liver"]
    assert call(arguments) == 2
    assert "--positive=liver: masks have labels" in capsys.readouterr().err


def test_init__writes_valid_params(tmp_path, capsys):
    folders(tmp_path / "scans")
    assert call(["init", str(tmp_path / "project"), "--data", str(tmp_path / "scans"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    params = load.validate(load.read(tmp_path / "project" / "params.yaml"))
    assert (params.task.kind, params.model.head.kind) == ("segmentation", "decoder")
    assert (params.frozen.monitor, params.finetune.monitor, params.gate.metric) == ("dice", "dice", "dice")
    assert (params.data.source, params.data.class_names) == ("volumes", ["label_1", "label_2"])
    assert result["next"][-1] == "medtune train"


def test_init__leaves_out_unused_keys_and_names_a_fast_first_try(tmp_path, capsys):
    decathlon.example(tmp_path / "data")
    project = tmp_path / "project"
    assert call(["init", str(project), "--data", str(tmp_path / "data"), "--no-dvc"]) == 0
    assert f"\n  {FAST_SEGMENT_COMMAND}\n" in capsys.readouterr().out
    written = load.read(project / "params.yaml")
    assert written["task"]["controls"] == ["decoder_only", "scratch"]
    assert not [(section, key) for section, keys in UNUSED.items() for key in keys if key in written[section]]
    assert load.load(project / "params.yaml", sets=shlex.split(FAST_SEGMENT_COMMAND)[3:]).schedule == "frozen"
