import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.data.sources import masks
from medtune.data.volume_files import VolumeFiles

LABELS = ["lesion", "vessel"]


@pytest.fixture
def root(tmp_path):
    for name in ("images/a.jpg", "images/deep/b.png", "masks/a.png", "masks/deep/b.tif", "masks/._a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def listed(root, **options):
    return masks.list_samples(root, masks.Params(root=str(root), class_names=LABELS, **options))


def message(root, **options):
    with pytest.raises(InputError) as error:
        listed(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def table(root, text):
    (root / "t.csv").write_text(text, encoding="utf-8")
    return {"csv": "t.csv"}


def test_samples__of_two_folders_have_equal_names(root):
    first, second = listed(root, mask_values={255: 1})
    assert (first.path, first.patient_id) == ("images/a.jpg", None)
    assert first.volume == VolumeFiles(
        (root / "images/a.jpg",), root / "masks/a.png", is_image=True, mask_values=((255, 1),)
    )
    assert (second.path, second.volume.mask) == ("images/deep/b.png", root / "masks/deep/b.tif")


def test_samples__names_match(root):
    (root / "images/a.jpg").rename(root / "images/a_0000.png")
    (root / "masks/deep/b.tif").rename(root / "masks/deep/b_segmentation.tif")
    first, second = listed(root)
    assert (first.path, first.volume.mask) == ("images/a_0000.png", root / "masks/a.png")
    assert (second.path, second.volume.mask) == ("images/deep/b.png", root / "masks/deep/b_segmentation.tif")


def test_samples__are_read_from_a_table(root):
    text = (
        "path,mask,patient,spacing\nimages/a.jpg,masks/a.png,P1,0.5\nimages/deep/b.png,masks/deep/b.tif,P2,0.5x0.25\n"
    )
    first, second = listed(root, **table(root, text))
    assert [sample.patient_id for sample in (first, second)] == ["P1", "P2"]
    assert (first.volume.spacing, second.volume.spacing) == ((0.5, 0.5, 1.0), (0.5, 0.25, 1.0))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("images/c.png,masks/a.png,", "images/c.png has no image 'images/c.png'"),
        ("images/a.jpg,masks/c.png,", "has no mask 'masks/c.png'. Add the files, or remove these cases from t.csv"),
        ("images/a.dcm,masks/a.png,", "'images/a.dcm' is not an image (.png, .jpg"),
        ("images/a.jpg,masks/a.jpg,", "the mask 'masks/a.jpg' is not one of .png, .tif, .tiff, .bmp (1 of 1 cases)"),
        ("images/a.jpg,masks/a.png,1x1x3", "t.csv line 2: spacing is '1x1x3'; expected one or two numbers"),
        (
            "images/a.jpg,masks/a.png,1\nimages/deep/b.png,masks/deep/b.tif,",
            "t.csv line 3 (case images/deep/b.png): spacing is empty (1 of 2 rows)",
        ),
    ],
)
def test_samples__invalid_table_is_an_error(root, row, problem):
    assert problem in message(root, **table(root, f"path,mask,spacing\n{row}\n"))


def test_samples__missing_image_and_mask_are_an_error(root):
    (root / "images/c.png").touch()
    (root / "masks/d.png").touch()
    assert message(root) == (
        "2 of 4 cases lack a file: c has no mask 'masks/c.png'; d has no image 'images/d.png'. Add the files, or "
        "remove these cases from images and masks"
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"patch": [64, 64, 8]}, "an image has one slice. Set the third number to 1"),
        ({"spacing": [1, 1, 2]}, "an image has one slice"),
        ({"mask_values": {255: 3}, "class_names": LABELS}, "value 255 means label 3, but class_names has 2"),
        ({"mask_values": {-1: 1}}, "mask_values"),
        ({"color": "cmyk"}, "color"),
    ],
)
def test_params__reject_invalid_values(values, problem):
    with pytest.raises(ValidationError, match=problem):
        masks.Params(**values)


def test_channels__follow_the_colors():
    assert masks.channels(masks.Params()) == ("red", "green", "blue")
    assert masks.channels(masks.Params(color="gray")) == ("gray",)


def test_example__has_two_labels(tmp_path):
    masks.example(tmp_path)
    found = {value for path in (tmp_path / "masks").iterdir() for value in np.unique(np.asarray(Image.open(path)))}
    assert found == {0, 1, 2}
