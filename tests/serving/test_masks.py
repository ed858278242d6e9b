import pytest

from medtune.serving.masks import find_masks


@pytest.mark.parametrize(
    ("paths", "masks"),
    [
        (["b/benign (1).png", "b/benign (1)_mask.png", "b/benign (1)_mask_1.png"], [1, 2]),  # BUSI
        (["ISIC_1.jpg", "ISIC_1_segmentation.png"], [1]),
        (["a/x.png", "a/x-mask.PNG", "a/mask_x.png"], [1, 2]),
        (["a/x.png", "b/x_mask.png"], []),  # the image is in another folder
        (["COVID/images/C-1.png", "COVID/masks/C-1.png"], [1]),
        (["images/1.png", "masks/1.png", "masks/2.png"], [1]),
        (["with_mask/with_mask_1.jpg", "without_mask/without_mask_1.jpg"], []),
        (["with_mask/1.jpg", "without_mask/1.jpg"], []),
        (["a/1.png", "b/1.png"], []),
        (["a/P1_1.png", "a/P1.png"], []),
        ([], []),
    ],
)
def test_find_masks__requires_the_image(paths, masks):
    assert find_masks(paths) == [paths[i] for i in masks]
