"""Patches of image and mask: same place, same random numbers in every process, and labels in the center."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from medtune.data.manifest import load_prepared
from medtune.data.volume_store import VolumeEntry, write_volumes
from medtune.runtime.artifact import commit, partial_dir
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.objective import IGNORED
from medtune.tasks.segmentation.patch_source import PatchSource
from medtune.training.schedule import stream_seed

CPU, PATCH = torch.device("cpu"), (8, 10, 6)
SHAPES = [(14, 12, 9), (6, 20, 5), (8, 10, 6), (20, 22, 16)]
GEOMETRY = {"mirror": ["x", "y", "z"], "rotate": 25, "scale": 0.3, "affine_probability": 1.0}
OFF = {"gamma": 0, "brightness": 0, "contrast": 0, "noise": 0, "blur": 0, "low_resolution": 0}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Write volumes of two labels whose image is 2 in a label and -1 outside; label 2 is in the last volume only."""
    folder = tmp_path_factory.mktemp("volumes") / "prepared"
    work = partial_dir(folder)
    work.mkdir(parents=True)
    draw, voxels = np.random.default_rng(0), []
    with write_volumes(work, channels=2) as writer:
        for number, shape in enumerate(SHAPES):
            mask = np.zeros(shape, np.uint8)
            corner = [int(draw.integers(0, side - side // 2)) for side in shape]
            mask[tuple(slice(c, c + side // 2) for c, side in zip(corner, shape, strict=True))] = 1
            if number == 3:
                mask[0, 0, 0] = 2
            image = np.stack([np.where(mask > 0, 2.0, -1.0), np.full(shape, number)]).astype(np.float16)
            voxels.append([int((mask == value).sum()) for value in (1, 2)])
            entry = VolumeEntry(
                shape, shape, [1.0, 1.0, 2.0], np.eye(4).tolist(), "RAS", tuple(voxels[-1]), [[0.0] * 5] * 2
            )
            writer.add(image, mask, mask, entry)
    (work / "manifest.csv").write_text(
        "path,label,patient,fold,split,sha256,width,height,role_0\n"
        + "".join(f"v{k},all,P{k},0,train,{k:064x},9,9,train\n" for k in range(len(SHAPES)))
    )
    volumes = {"spacing": [1.0, 1.0, 2.0], "patch": list(PATCH), "strata": ["all"], "channels": ["a", "b"]}
    (work / "dataset.json").write_text(json.dumps({"classes": ["organ", "spot"], "volumes": volumes, "name": "boxes"}))
    commit(folder, "key", {"stage": "data"})
    return load_prepared(folder)


def source(prepared, augment=None, **changes):
    params = Params(**changes, augment={**OFF, "affine_probability": 0, **(augment or {})})
    return PatchSource(prepared, PATCH, params, CPU)


def load(source, rows, seed=0, selected=slice(None)):
    images, transform = source.train(np.array(rows), torch.Generator().manual_seed(seed), selected)
    return images, transform(torch.tensor(rows)[selected])


@pytest.mark.parametrize("augment", [{}, {"mirror": ["x", "z"]}, GEOMETRY], ids=["none", "mirror", "all"])
def test_train__mask_is_where_the_image_is_bright(prepared, augment):
    chosen = source(prepared, augment)
    for seed in range(12):
        images, masks = load(chosen, [0, 1, 2, 3, 0, 3], seed)
        assert images.shape == (6, 2, *PATCH)
        assert masks.shape == (6, *PATCH)
        assert masks.dtype == torch.uint8
        bright = images[:, 0] > 0.5
        if not augment or "rotate" not in augment:
            assert torch.equal(bright, masks > 0)
            continue
        # Linear interpolation and the nearest voxel differ on the surface only.
        certain = (images[:, 0] > 1.9) | (images[:, 0] < -0.9)
        assert torch.equal(bright[certain], masks[certain] > 0)
        assert (bright == (masks > 0)).float().mean() > 0.9
    assert masks.any()


def test_train__brightness_does_not_move_the_mask(prepared):
    images, masks = load(source(prepared, {"brightness": 0.4, "contrast": 0.3, "intensity_probability": 1.0}), [3] * 6)
    for image, mask in zip(images, masks, strict=True):
        if mask.any() and not mask.all():
            assert image[0][mask > 0].min() > image[0][mask == 0].max()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_train__share_of_patches_on_a_label_in_turn(prepared, share):
    chosen, found = source(prepared, foreground_share=share), Counter()
    for seed in range(30):
        _, masks = load(chosen, [3] * 4, seed)
        found.update(bool((mask == 2).any()) for mask in masks)
    # Label 2 is a single voxel in the corner, which random patches rarely contain.
    expected = share / 2 + (1 - share / 2) * 0.0006
    assert found[True] / 120 == pytest.approx(expected, abs=0.12)


@pytest.mark.parametrize("selected", [slice(0, None, 2), slice(1, None, 2), slice(0, 1)])
def test_train__a_process_loads_its_part_of_the_same_batch(prepared, selected):
    every = {**dict.fromkeys(OFF, 0.4), **GEOMETRY, "affine_probability": 0.5, "intensity_probability": 0.5}
    chosen, rows = source(prepared, every), [0, 1, 2, 3, 0]
    images, masks = load(chosen, rows, 4)
    part, part_masks = load(chosen, rows, 4, selected)
    assert torch.equal(part, images[selected])
    assert torch.equal(part_masks, masks[selected])


def test_train__every_process_consumes_the_same_random_numbers(prepared):
    chosen, states = source(prepared, GEOMETRY), []
    for selected in (slice(None), slice(1, None, 2), slice(0, 1)):
        generator = torch.Generator().manual_seed(stream_seed("test"))
        chosen.train(np.array([0, 1, 2]), generator, selected)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_train__a_process_that_repeats_a_patch_ignores_it(prepared, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, ignored in ((0, False), (1, False), (2, True)):
        monkeypatch.setenv("RANK", str(rank))
        masks = load(source(prepared), [0, 1], 0, slice(0, 1))[1]
        assert bool((masks == IGNORED).all()) is ignored


def test_score__loads_the_whole_volume(prepared):
    volume = source(prepared, GEOMETRY).score(np.array([1]))
    assert volume.dtype == torch.float32
    np.testing.assert_array_equal(volume[0].numpy(), prepared.volumes.image(1))


def test_labeled__one_patch_of_each_volume_the_same_on_every_call(prepared):
    chosen = source(prepared, GEOMETRY)
    batches = [list(chosen.labeled(np.arange(4), 7, size=3)) for _ in range(2)]
    assert [len(images) for images, _ in batches[0]] == [3, 1]
    for (images, masks), (again, _) in zip(*batches, strict=True):
        assert torch.equal(images, again)
        assert masks.dtype == torch.int64
        assert torch.equal(images[:, 0] > 0.5, masks > 0)
    # The padding of channel 1 is 0, else it is the number of the volume.
    assert sorted(int(image[1].max()) for images, _ in batches[0] for image in images) == [0, 1, 2, 3]
