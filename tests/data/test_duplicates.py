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


def test_find_duplicates__finds_exact_and_near_duplicates():
    images = textured()
    images[5] = images[2]
    images[7] = np.clip(images[3].astype(int) + 3, 0, 255)
    duplicates = find_duplicates(images, digests(images))
    assert duplicates.exact == ((2, 5),)
    assert [(a, b) for a, b, _ in duplicates.near.tolist()] == [(3, 7)]
    assert duplicates.near[0, 2] <= NEAR_BITS


def test_find_duplicates__distances_equal_those_of_imagehash():
    images = np.concatenate([textured(), textured()[:, :, ::-1]])
    images[12:] = np.clip(images[:12].astype(int) + np.random.default_rng(0).normal(0, 12, images[:12].shape), 0, 255)
    duplicates = find_duplicates(images, digests(images))
    hashes = [imagehash.phash(Image.fromarray(image)) for image in images]
    expected = {
        (a, b, hashes[a] - hashes[b]) for a in range(24) for b in range(a + 1, 24) if hashes[a] - hashes[b] <= NEAR_BITS
    }
    assert {tuple(row) for row in duplicates.near.tolist()} == expected
    assert expected


def test_duplicate_report__duplicates_across_splits_are_first():
    images = textured()
    images[1], images[5] = images[0], images[4]
    splits = np.array([["train"]] * 5 + [["test"]] * 6 + [["unused"]])
    labels = ["a"] * 5 + ["b"] * 7
    report = duplicate_report(
        find_duplicates(images, digests(images)), [str(n) for n in range(12)], labels, splits, [0]
    )
    assert report["exact"]["sets"] == 2
    assert report["exact"]["images"] == 4
    assert report["exact"]["across_splits"] == 1
    assert report["exact"]["with_different_labels"] == 1
    assert report["exact"]["first"][0] == {"paths": ["4", "5"], "across_splits": True}


def test_crosses_splits__ignores_unused_images():
    splits = np.array([["train"], ["unused"], ["test"], ["train"]])
    assert not crosses_splits([0, 1, 3], splits, [0])
    assert crosses_splits([0, 2], splits, [0])


def test_find_duplicates__different_images_are_not_duplicates():
    duplicates = find_duplicates(textured(3), digests(textured(3)))
    assert duplicates.exact == ()
    assert duplicates.near.shape == (0, 3)
