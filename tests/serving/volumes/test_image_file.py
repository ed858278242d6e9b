import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes import geometry
from medtune.serving.volumes.image_file import image_grid, read_image, to_volume, write_mask
from medtune.serving.volumes.nifti_space import NiftiSpace

COLORS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 9
DEEP = np.array([[0, 4000, 65535], [1, 2, 3]], np.uint16)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_read__colors_are_channels(tmp_path):
    volume = read_image(save(tmp_path / "a.png", COLORS), 3, (0.5, 0.25))
    assert (volume.data.dtype, volume.data.shape, volume.shape) == (np.float32, (3, 3, 2, 1), (3, 2, 1))
    # The upper left pixel is at the patient's right and front, so it has the largest indices in RAS.
    np.testing.assert_array_equal(volume.data[:, -1, -1, 0], COLORS[0, 0])
    np.testing.assert_array_equal(volume.data[:, 0, -1, 0], COLORS[0, 2])
    np.testing.assert_allclose(volume.spacing, (0.5, 0.25, 1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_read__sixteen_bits_keep_their_values(tmp_path, name):
    (channel,) = read_image(save(tmp_path / name, DEEP), 1).data
    np.testing.assert_array_equal(channel[..., 0].T[::-1, ::-1], DEEP)
    assert read_image(tmp_path / name, 3).data.shape == (3, 3, 2, 1)


def test_read__invalid_image_is_an_error(tmp_path):
    path = save(tmp_path / "a.png", COLORS)
    with pytest.raises(DecodeError, match=r"a\.png: a color image, but gray images are expected"):
        read_image(path, 1)
    with pytest.raises(DecodeError, match=r"b\.png: the volume is constant: each voxel is 7"):
        read_image(save(tmp_path / "b.png", np.full((4, 4), 7, np.uint8)), 1)
    path.write_bytes(path.read_bytes()[:-15])
    with pytest.raises(DecodeError, match=r"a\.png: damaged or not an image"):
        read_image(path, 3)


def test_grid__is_that_of_nibabel():
    grid = image_grid(5, 4, (0.5, 0.25))
    assert grid.orientation == geometry.orientation_of(grid.affine)
    assert grid.space == NiftiSpace.from_affine(grid.affine)
    np.testing.assert_allclose(grid.space.make_header().get_qform(), nib.Nifti1Image(
        np.zeros(grid.shape, np.uint8), grid.affine).affine)  # fmt: skip


def test_write__has_the_pixels_of_the_image(tmp_path):
    mask = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
    write_mask(tmp_path / "m.png", np.ascontiguousarray(to_volume(mask)))
    image = Image.open(tmp_path / "m.png")
    assert (image.mode, image.size) == ("L", (3, 2))
    np.testing.assert_array_equal(np.asarray(image), mask)
    assert [path.name for path in tmp_path.iterdir()] == ["m.png"]
    with pytest.raises(BundleError, match="does not exist"):
        write_mask(tmp_path / "missing" / "m.png", np.ascontiguousarray(to_volume(mask)))
    with pytest.raises(ValueError, match="expected uint8"):
        write_mask(tmp_path / "m.png", np.zeros((2, 2, 2), np.uint8))
