import hashlib

import imagehash
import numpy as np
from PIL import Image

from medtune.data.duplicates import NEAR_BITS, crosses_splits, duplicate_report, find_duplicates


def textured(count=12):
    rng = np.random.default_rng(8)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([np.array(Image.fromarray(image).resize((48, 48), Image.Resampling.BICUBIC)) for image in coarse])


def digests(images):
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def test_find_duplicates__exact_and_near():
    images = textured()
    images[5] = images[2]
    images[7] = np.clip(images[3].astype(int) + 3, 0, 255)
    found = find_duplicates(images, digests(images))
    assert found.exact == ((2, 5),)
    assert [(a, b) for a, b, _ in found.near.tolist()] == [(3, 7)]
    assert found.near[0, 2] <= NEAR_BITS


def test_find_duplicates__distances_are_imagehashs():
    images = np.concatenate([textured(), textured()[:, :, ::-1]])
    images[12:] = np.clip(images[:12].astype(int) + np.random.default_rng(0).normal(0, 12, images[:12].shape), 0, 255)
    found = find_duplicates(images, digests(images))
    hashes = [imagehash.phash(Image.fromarray(image)) for image in images]
    expected = {
        (a, b, hashes[a] - hashes[b]) for a in range(24) for b in range(a + 1, 24) if hashes[a] - hashes[b] <= NEAR_BITS
    }
    assert {tuple(row) for row in found.near.tolist()} == expected
    assert expected


def test_describe__across_splits_come_first():
    images = textured()
    images[1], images[5] = images[0], images[4]
    roles = np.array([["train"]] * 5 + [["test"]] * 6 + [["unused"]])
    labels = ["a"] * 5 + ["b"] * 7
    told = duplicate_report(find_duplicates(images, digests(images)), [str(n) for n in range(12)], labels, roles, [0])
    assert told["exact"]["sets"] == 2
    assert told["exact"]["images"] == 4
    assert told["exact"]["across_splits"] == 1
    assert told["exact"]["with_different_labels"] == 1
    assert told["exact"]["first"][0] == {"paths": ["4", "5"], "across_splits": True}


def test_across__unused_images_leak_nothing():
    roles = np.array([["train"], ["unused"], ["test"], ["train"]])
    assert not crosses_splits([0, 1, 3], roles, [0])
    assert crosses_splits([0, 2], roles, [0])


def test_find_duplicates__no_duplicates():
    found = find_duplicates(textured(3), digests(textured(3)))
    assert found.exact == ()
    assert found.near.shape == (0, 3)
