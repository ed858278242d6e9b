"""Detection of images with masks in `medtune init`."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from medtune.cli.detect import detect
from medtune.cli.main import call
from medtune.config import load
from medtune.config.errors import InputError
from medtune.data.sources import masks
from tests.cli.init_project import images, init, table


def change(folder, convert):
    for path in folder.iterdir():
        pixels = convert(np.asarray(Image.open(path)))
        Image.fromarray(pixels).save(path)


def test_detect__two_folders(tmp_path, capsys):
    masks.example(tmp_path / "raw")
    settings = init(tmp_path / "project", tmp_path / "raw", capsys, positive=None)["settings"]
    assert settings["data.source"] == "masks"
    assert settings["data.class_names"] == ["label_1", "label_2"]
    assert (settings["data.color"], settings["model.head.slice_scale"]) == ("rgb", 1.0)
    assert settings["data.split.protocol"] == "image"
    params = load.load(tmp_path / "project" / "params.yaml")
    assert params.data.source == "masks"


def test_detect__gray_images_and_white_masks(tmp_path):
    masks.example(tmp_path)
    change(tmp_path / "images", lambda pixels: pixels[..., 0])
    change(tmp_path / "masks", lambda pixels: (pixels == 1).astype(np.uint8) * 255)
    result = detect(tmp_path)
    assert result.settings["data.color"] == "gray"
    assert result.settings["data.mask_values"] == {255: 1}
    assert ("masks", "255 counts as label 1 (data.mask_values)") in result.findings


def test_detect__results_of_predict_are_no_masks(tmp_path):
    masks.example(tmp_path)
    shutil.copytree(tmp_path / "masks", tmp_path / "label_maps")
    (tmp_path / "label_maps" / "volumes.csv").write_text("path,pixels_a,uncertainty_a,flags,seconds\n")
    result = detect(tmp_path)
    assert result.settings["data.masks"] == "masks"
    assert dict(result.findings)["results"].startswith("label_maps/volumes.csv was written by `medtune predict`")


def test_detect__nnunet_names_the_labels(tmp_path):
    masks.example(tmp_path)
    (tmp_path / "masks").rename(tmp_path / "labelsTr")
    (tmp_path / "images").rename(tmp_path / "imagesTr")
    for path in list((tmp_path / "imagesTr").iterdir()):
        path.rename(path.with_name(f"{path.stem}_0000.png"))
    images(tmp_path, "imagesTs/x.png")
    names = {"background": 0, "lesion": 1, "vessel": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": names, "file_ending": ".png", "channel_names": {}}))
    result = detect(tmp_path)
    assert result.settings["data.images"] == "imagesTr"
    assert result.settings["data.class_names"] == ["lesion", "vessel"]
    assert dict(result.findings)["not used"] == "1 images"


def test_detect__table_with_patients(tmp_path):
    masks.example(tmp_path)
    rows = [f"images/{path.name},masks/{path.name},{path.name[:2]}" for path in sorted((tmp_path / "masks").iterdir())]
    (tmp_path / "t.csv").write_text("\n".join(["image,mask,patient", *rows]))
    settings = detect(tmp_path).settings
    assert (settings["data.csv"], settings["data.columns.path"]) == ("t.csv", "image")
    assert "data.split.protocol" not in settings


@pytest.mark.parametrize("name", ["classes", "labels.csv", "loose"])
def test_detect__classes_are_not_masks(tmp_path, name):
    if name == "classes":
        images(tmp_path, *(f"{label}/{n}.png" for label in ("benign", "malignant", "masks") for n in range(3)))
    else:
        folders = ("images/", "masks/") if name == "labels.csv" else ("", "masks/")
        images(tmp_path, *(f"{folder}{n}.png" for folder in folders for n in range(3)))
    if name == "labels.csv":
        table(tmp_path, "path", "label", rows=3)
    assert detect(tmp_path).settings["data.source"] == "folder"


def test_detect__invalid_mask_is_an_error(tmp_path, capsys):
    masks.example(tmp_path)
    change(tmp_path / "masks", lambda pixels: np.repeat(pixels[..., None], 3, 2))
    with pytest.raises(InputError, match=r"P0_0\.png: colors \(RGB\), but a mask has one channel"):
        detect(tmp_path)
    change(tmp_path / "masks", lambda pixels: pixels[..., 0] * 90)
    with pytest.raises(InputError, match=r"the masks have the values 90, 180\. Number the labels"):
        detect(tmp_path)
    assert call(["init", str(tmp_path / "new"), "--data", str(tmp_path)]) == 2


def test_init__data_set_is_no_project_folder(tmp_path, capsys, monkeypatch):
    masks.example(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call(["init"]) == 2
    assert "this folder is a data set with masks, and results need another folder" in capsys.readouterr().err
