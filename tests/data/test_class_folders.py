import pytest

from medtune.config.errors import InputError
from medtune.data.class_folders import by_class, by_split, inner_folder, split_name


def files(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("TRN", "train"), ("train_set", "train"), ("seg_train", "train"),
        ("val", "val"), ("Valid", "val"), ("validation", "val"), ("dev", "val"), ("01_val", "val"),
        ("test", "test"), ("Testing", "test"), ("holdout", "test"), ("hold-out", "test"), ("hold_out_set", "test"),
        ("test-images", "test"), ("test1", "test"), ("testset", "test"), ("eval", "test"),
        ("benign", None), ("stress test", None), ("trainer", None), ("contest", None), ("valve", None), ("", None),
        ("train_test", None),
    ],
)  # fmt: skip
def test_split_name__usual_names_in_any_case(name, split):
    assert split_name(name) == split


def test_by_class__split_folders_with_a_common_prefix_are_an_error(tmp_path):
    with pytest.raises(InputError, match="lung_test, lung_train are named like splits"):
        by_class(files(tmp_path, "lung_train/n/1.png", "lung_test/n/1.png", "lung_train/p/1.png"), ())


def test_by_class__class_name_may_contain_a_split_name(tmp_path):
    images = by_class(files(tmp_path, "stress test/1.png", "rest/1.png"), ())
    assert {image.label for image in images} == {"stress test", "rest"}


def test_by_class__fold_folders_are_an_error(tmp_path):
    with pytest.raises(InputError, match="fold1, fold2 are named like folds"):
        by_class(files(tmp_path, "fold1/n/1.png", "fold2/n/1.png"), ())


def test_by_class__labels_are_top_level_folders(tmp_path):
    images = by_class(files(tmp_path, "a/1.png", "b/deep/2.png"), ())
    assert [(image.path, image.label, image.split) for image in images] == [
        ("a/1.png", "a", None),
        ("b/deep/2.png", "b", None),
    ]


def test_by_class__split_folders_are_an_error(tmp_path):
    root = files(tmp_path, "Train/n/1.png", "Train/p/1.png", "Test/n/2.png")
    with pytest.raises(InputError) as error:
        by_class(root, ())
    message = str(error.value)
    assert "Test, Train are named like splits, not classes, with the folders n, p" in message
    assert "--set data.split.protocol=folders" in message
    assert f"--set data.root={root}/Train" in message


def test_by_class__class_named_like_a_split_must_be_declared(tmp_path):
    root = files(tmp_path, "test/1.png", "control/1.png")
    with pytest.raises(InputError, match=r"list every class in data\.class_names"):
        by_class(root, ())
    assert {image.label for image in by_class(root, ("test", "control"))} == {"test", "control"}


def test_by_class__error_suggests_the_inner_root(tmp_path):
    root = files(tmp_path, "chest_xray/train/n/1.png", "chest_xray/test/n/1.png", "__MACOSX/._x", ".DS_Store")
    with pytest.raises(InputError, match=rf"--set data\.root={root}/chest_xray$"):
        by_class(root, ())
    assert inner_folder(["x/y/train/1.png", "x/y/test/1.png"]) == "x/y"
    assert inner_folder(["x/a/1.png", "x/b/1.png"]) is None
    assert inner_folder([]) is None


def test_by_class__folder_without_images_reports_its_content(tmp_path):
    with pytest.raises(InputError, match=r"class folder .*/b has no images \(it contains 2 \.gif\)"):
        by_class(files(tmp_path, "a/1.png", "b/1.gif", "b/2.GIF"), ())


def test_by_split__labels_are_inner_folders(tmp_path):
    images = by_split(files(tmp_path, "train/n/1.png", "valid/n/2.png", "TEST/p/deep/3.png"))
    assert [(image.label, image.split) for image in images] == [("p", "test"), ("n", "train"), ("n", "val")]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train/n/1.png"], "no folder test with images"),
        (["a/n/1.png", "b/n/1.png"], "no folder train and no test with images in .*; found a, b"),
        (["train/n/1.png", "test/n/1.png", "val/n/1.png", "valid/n/2.png"], "val and valid in .* are the same split"),
        (["train/n/1.png", "test/n/1.png", "other/n/1.png"], "other/n/1.png is in none of"),
        (["train/n/1.png", "test/n/1.png", "train/2.png"], "train/2.png is not in a class folder"),
        (["train/train/n/1.png", "test/test/n/1.png"], "test/test is named like a split, not a class"),
        (["x/train/n/1.png", "x/test/n/1.png"], "--set data.root=.*/x"),
    ],
)
def test_by_split__invalid_folders_are_an_error(tmp_path, paths, message):
    with pytest.raises(InputError, match=message):
        by_split(files(tmp_path, *paths))
