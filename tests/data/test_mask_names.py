import pytest

from medtune.data.mask_names import pair_names


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a", "a"),
        ("deep/a", "deep/a"),
        ("a_0000", "a"),
        ("ISIC_0000001", "ISIC_0000001_segmentation"),
        ("deep/A.1", "deep/a.1_mask"),
        ("a", "mask_a"),
    ],
)
def test_pair__names_that_belong_together(image, mask):
    assert pair_names([image, "b"], [mask, "c"]) == {mask: image}


def test_pair__an_image_has_one_mask():
    assert pair_names(["a"], ["a", "a_mask"]) == {"a": "a"}
    assert pair_names(["a"], ["a_gt", "a_mask"]) == {"a_gt": "a"}
    assert pair_names(["a", "deep/a"], ["other/a", "b_mask"]) == {}
