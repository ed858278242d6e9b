"""Augmented training images under random settings, from all that params allow: still pictures, still in range.

A picture is constant where no channel's values differ by a 255th: what saturation to white or black leaves. The ranges
are read from the params themselves, so that one that is widened is tried as wide.
"""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from torture.outcome import Outcome

NUMBER = 11
TITLE = "augmented images, random settings over all that is allowed"
TARGET = "10,000 images: constant <= 0.1 %; 0 to 1, float32, no NaN; repeatable; all off is the image itself"
BATCH = 20
CONSTANT = 0.001


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Images by their side in pixels."""
    if not full:
        return {"small": {"size": 16, "images": 1000}}
    return {f"of-{size}-pixels": {"size": size, "images": 2500} for size in (16, 33, 64, 128)}


def inject(folder: Path, size: int, images: int) -> Outcome:
    """Augments `images` images of `size` pixels, `BATCH` of them at each setting."""
    import numpy as np
    import torch

    outcome, pool = Outcome(), _pool(size)
    draw, tried = np.random.default_rng(size), []
    for first in range(0, images, BATCH):
        shown = torch.from_numpy(pool[draw.integers(0, len(pool), BATCH)])
        settings = random_settings(draw)
        fault, constant = look(shown, settings, first)
        tried += [(settings, fault, bool(bare)) for bare in constant]
    blank = sum(bare for _, _, bare in tried)
    outcome.figure("greatest share of constant images", blank / images)
    for settings, fault, bare in tried:
        outcome.count(str(settings), fault or ("came out constant" if bare and blank > CONSTANT * images else None))
    return outcome


def random_settings(draw: Any) -> dict[str, Any]:
    """Values of every field of AugmentParams, over its whole range and often at its ends; all fields fit together."""
    from pydantic import ValidationError

    from medtune.config.training import AugmentParams

    while True:
        settings = {name: _random_value(field, draw) for name, field in AugmentParams.model_fields.items()}
        try:
            AugmentParams(**settings)
        except ValidationError:
            continue
        return settings


def _random_value(field: Any, draw: Any) -> Any:
    if field.annotation is bool:
        return bool(draw.integers(2))
    if get_origin(field.annotation) is Literal:
        return str(draw.choice(get_args(field.annotation)))
    bounds: dict[str, float] = {}
    for bound in field.metadata:  # Ge(ge=0), Le(le=1), Lt(lt=1)
        bounds |= {key: float(getattr(bound, key)) for key in ("ge", "le", "lt") if hasattr(bound, key)}
    low, top = bounds["ge"], bounds["le"] if "le" in bounds else bounds["lt"] * (1 - 1e-6)
    return float(draw.choice([low, top, draw.uniform(low, top)], p=[0.15, 0.1, 0.75]))


def look(shown: Any, settings: dict[str, Any], seed: int) -> tuple[str | None, Any]:
    """What is wrong with a batch of augmented images, or None; and which of them (n,) are constant."""
    import torch

    from medtune.config.training import AugmentParams
    from medtune.training.augmentation import augment

    params, before = AugmentParams(**settings), shown.clone()
    found = augment(shown, params, torch.Generator().manual_seed(seed))
    values = found.flatten(2)
    constant = ~((values.amax(2) - values.amin(2)).amax(1) >= 1 / 255)  # NaN is no picture either
    again = augment(shown, params, torch.Generator().manual_seed(seed))
    half = slice(len(shown) // 2, len(shown))
    part = augment(shown[half], params, torch.Generator().manual_seed(seed), len(shown), half)
    off = AugmentParams(**{name: type(value)(0) for name, value in settings.items() if not isinstance(value, str)})
    plain = augment(shown, off, torch.Generator().manual_seed(seed))
    checks = {
        f"the images are {found.dtype}": found.dtype == torch.float32,
        f"their shape is {tuple(found.shape)}": found.shape == (len(shown), 3, *shown.shape[1:3]),
        "some are NaN or infinite": bool(found.isfinite().all()),
        f"values from {found.min():.3g} to {found.max():.3g}": bool(((found >= 0) & (found <= 1)).all()),
        "the same seed gives others": torch.equal(found, again),
        "the second half of the batch by itself gives others": torch.allclose(found[half], part, rtol=0, atol=1e-4),
        "all off is not the image": torch.equal(plain, shown.permute(0, 3, 1, 2).float() / 255),
        "the given images were changed": torch.equal(shown, before),
    }
    return next((words for words, holds in checks.items() if not holds), None), constant


def _pool(size: int) -> Any:
    """(n, size, size, 3) uint8: bright tissue, the same dark and without colour, and ripples."""
    import numpy as np

    from medtune.data.sources.synthetic import TISSUES, draw
    from torture.networks.adapted import pictures

    tissue = np.stack([draw(TISSUES[n % 4], n, 0, size, 1.0, 1) for n in range(40)])
    grey = tissue.mean(3, keepdims=True).repeat(3, 3).astype(np.uint8)
    return np.concatenate([tissue, tissue, 255 - tissue[:20], grey[:20], pictures(40, size, 1)[0]])
