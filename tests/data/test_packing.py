import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.packing import pack
from medtune.data.sample import Sample


def write(folder, count=5, size=(12, 9)):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (count, size[1], size[0], 3), np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return images, [Sample(f"{number}.png", "a") for number in range(count)]


def read(folder):
    return np.load(folder / "images.npy", mmap_mode="r")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_pack__stores_pixels_digests_and_sizes(tmp_path, out):
    images, samples = write(tmp_path, size=(9, 9))
    packed = pack(samples, tmp_path, out, 9, "squash", "error")
    assert np.array_equal(read(out), images)
    assert packed.sha256 == tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images)
    assert packed.original_sizes == ((9, 9),) * 5
    assert packed.selected == (0, 1, 2, 3, 4)


def test_pack__result_does_not_depend_on_processes(tmp_path, out):
    _, samples = write(tmp_path, 40)
    (tmp_path / "7.png").write_bytes(b"bad")
    single_process = pack(samples, tmp_path, out, 8, "crop", "reject", workers=0)
    content = (out / "images.npy").read_bytes()
    assert pack(samples, tmp_path, out, 8, "crop", "reject", workers=2) == single_process
    assert (out / "images.npy").read_bytes() == content


def test_pack__error_counts_and_names_bad_images(tmp_path, out):
    _, samples = write(tmp_path, 9)
    for number in range(1, 8):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"7 of 9 images cannot be used: 1.png: the file is empty; .*; and 2 more"):
        pack(samples, tmp_path, out, 8, "squash", "error")


def test_pack__every_image_is_selected_or_rejected(tmp_path, out):
    images, samples = write(tmp_path, 300, (8, 8))
    for number in range(3, 300, 2):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    packed = pack(samples, tmp_path, out, 8, "squash", "reject")
    assert len(packed.selected) + len(packed.rejected) == 300
    assert {path for path, _ in packed.rejected} == {f"{number}.png" for number in range(3, 300, 2)}
    assert np.array_equal(read(out), images[list(packed.selected)])
    assert (out / "images.npy").stat().st_size == 128 + len(packed.selected) * 8 * 8 * 3


def test_pack__no_valid_image_is_an_error(tmp_path, out):
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of 1 images can be used"):
        pack([Sample("0.png", "a")], tmp_path, out, 8, "squash", "reject")


def test_pack__links_outside_the_root_are_bad_images(tmp_path, out):
    root = tmp_path / "root"
    root.mkdir()
    write(root, 2)
    write(tmp_path, 1)
    os.symlink(tmp_path / "0.png", root / "out.png")
    os.symlink("1.png", root / "in.png")
    os.symlink("nowhere.png", root / "dangling.png")
    samples = [Sample(name, "a") for name in ("0.png", "out.png", "in.png", "dangling.png")]
    packed = pack(samples, root, out, 8, "squash", "reject")
    assert packed.selected == (0, 2)
    assert [path for path, _ in packed.rejected] == ["out.png", "dangling.png"]
    assert "outside of the data root" in packed.rejected[0][1]


def test_pack__stores_generated_pixels(out):
    image = np.full((4, 4, 3), 7, np.uint8)
    packed = pack([Sample("x", "a", read=lambda: image)], None, out, 4, "squash", "error", workers=2)
    assert packed.selected == (0,)
    assert (read(out) == 7).all()


def test_pack__circular_link_is_a_bad_image(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    packed = pack([Sample("a.png", "x"), Sample("loop.png", "x")], tmp_path, tmp_path, 8, "squash", "reject")
    assert packed.rejected == (("loop.png", "a circular link"),)
