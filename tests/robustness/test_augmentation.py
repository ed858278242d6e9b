"""Augmented training images under random settings from the complete allowed range."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medtune.config.training import AugmentParams
from medtune.data.sources.synthetic import TISSUES, draw
from medtune.training import augmentation
from tests.robustness.faults import Faults
from tests.robustness.networks import striped_images
from tests.robustness.profile import scale

pytestmark = pytest.mark.faults(
    row=11,
    title="augmentation has random settings from the allowed range",
    target="10,000 images: at most 0.1 % become constant. All values are from 0 to 1, in float32. The result is "
    "repeatable. Without augmentation, the image does not change",
)
BATCH = 20
MAX_CONSTANT = 0.001


@pytest.mark.parametrize("size", scale(small=[16], full=[16, 33, 64, 128]))
def test_augmentation__leaves_valid_images(faults, size):
    augment_many(faults, size)


def test_augmentation__settings_that_make_images_constant_are_noticed():
    faults = Faults()
    outside_range = {"brightness": 0.99, "contrast": 0.99, "stain": 0.99}  # allowed in an earlier version
    augment_many(faults, 16, outside_range)
    assert faults.measured["greatest fraction of constant images"] > MAX_CONSTANT
    assert faults.lost
    assert all("is constant" in line for line in faults.lost)


@pytest.mark.parametrize(("name", "wrong", "problem"), [
    ("_jitter_stain", lambda x, *_: x * 255, "values from"),
    ("_resample", lambda x, *_: x * math.nan, "some are not finite"),
])  # fmt: skip
def test_augmentation__invalid_values_are_noticed(monkeypatch, name, wrong, problem):
    faults = Faults()
    monkeypatch.setattr(augmentation, name, wrong)
    monkeypatch.setattr(torch.Tensor, "clamp_", lambda x, *_: x)
    augment_many(faults, 16)
    assert any(problem in line for line in faults.lost)


def augment_many(faults, size, fixed=()):
    """Augment batches of images of one size, each with other settings, except for the `fixed` ones."""
    images, results = image_pool(size), []
    ranges = AugmentParams.model_json_schema()["properties"]

    # Not drawn by hypothesis: its integers depend on the modules that the process has loaded.
    for seed in range(scale(small=50, full=125)):
        random = np.random.default_rng([size, seed])
        settings = random_settings(ranges, random).model_copy(update=dict(fixed))
        batch = images[random.integers(0, len(images), BATCH)]
        problem, constant = check(torch.from_numpy(batch), settings, seed)
        results.extend((settings, problem, is_constant) for is_constant in constant.tolist())
    n_constant = sum(is_constant for _, _, is_constant in results)
    faults.measure("greatest fraction of constant images", n_constant / len(results))
    too_many = n_constant > MAX_CONSTANT * len(results)
    for settings, problem, is_constant in results:
        faults.count(repr(settings), problem or ("the image is constant" if too_many and is_constant else None))


def random_settings(ranges, random):
    """Draw all settings from their complete ranges, often at an end of the range, until they fit together."""
    while True:
        try:
            return AugmentParams(**{name: random_value(schema, random) for name, schema in ranges.items()})
        except ValidationError:
            continue


def random_value(schema, random):
    if "enum" in schema:
        return str(random.choice(schema["enum"]))
    if schema["type"] == "boolean":
        return bool(random.integers(2))
    low = schema["minimum"]
    high = schema["maximum"] if "maximum" in schema else schema["exclusiveMaximum"] - 1e-6
    return float(random.choice([low, high, random.uniform(low, high)], p=[0.15, 0.1, 0.75]))


def image_pool(size):
    """Return bright, dark and gray tissue and striped images, uint8 (n, size, size, 3)."""
    tissue = np.stack([draw(TISSUES[n % 4], n, 0, size, 1.0, 1) for n in range(40)])
    gray = tissue.mean(3, keepdims=True).repeat(3, 3).astype(np.uint8)
    return np.concatenate([tissue, tissue, 255 - tissue[:20], gray[:20], striped_images(40, size, 1)[0]])


def check(images, settings, seed):
    """Augment a batch. Return the first problem, or None, and which images are constant, shape (n,)."""

    def augment(images, settings=settings, **part):
        return augmentation.augment(images, settings, torch.Generator().manual_seed(seed), **part)

    original, half = images.clone(), slice(len(images) // 2, len(images))
    off = AugmentParams(**{name: 0 for name, value in settings if not isinstance(value, str)})
    result = augment(images)
    values = result.flatten(2)
    varies = (values.amax(2) - values.amin(2)).amax(1) >= 1 / 255  # False for NaN
    checks = {
        f"the images are {result.dtype}": result.dtype == torch.float32,
        f"their shape is {tuple(result.shape)}": result.shape == (len(images), 3, *images.shape[1:3]),
        "some are not finite": result.isfinite().all(),
        f"values from {result.min():.3g} to {result.max():.3g}": ((result >= 0) & (result <= 1)).all(),
        "the same seed gives other images": torch.equal(result, augment(images)),
        "half of the batch gives other images": torch.allclose(
            result[half], augment(images[half], batch=len(images), rows=half), rtol=0, atol=1e-4
        ),
        "the images change if all is off": torch.equal(augment(images, off), images.permute(0, 3, 1, 2).float() / 255),
        "the input was modified": torch.equal(images, original),
    }
    return next((problem for problem, passed in checks.items() if not passed), None), ~varies
