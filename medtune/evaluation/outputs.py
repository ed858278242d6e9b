"""Store a network's outputs for a fold's validation and test images, so that a change of `evaluate.*` reuses them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.errors import RunError
from medtune.runtime.artifact import Artifact, atomic_write, digest
from medtune.runtime.source_hash import source_fingerprint
from medtune.serving.checksum import add_bytes_checksum, strip_bytes_checksum

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier

ROLES = ("val", "test")
Logits = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Wanted:
    """Which logits: of one chain's trained model on its validation and test images.

    Attributes:
        fold: the chain's test fold.
        trained: the model.
        rows: rows of the manifest for each of `ROLES`.
        key: what their content follows from.
    """

    fold: int
    trained: Artifact
    rows: dict[str, npt.NDArray[np.int64]]
    key: str

    @classmethod
    def of(cls, trained: Artifact, prepared: "PreparedDataset") -> "Wanted":
        """The logits that evaluating `trained` needs."""
        fold = int(trained.result()["fold"])
        roles = prepared.split_digest(fold)
        rows = prepared.indices(fold)
        # trained.key holds the source of the network's code, trained.sha256 its weights.
        source = source_fingerprint("medtune.evaluation.outputs")
        key = digest(["logits", trained.key, trained.sha256, prepared.digest, roles, source])
        return cls(fold, trained, {role: rows[role] for role in ROLES}, key)


def load(wanted: Wanted, cache: Path) -> Logits | None:
    """Stored logits (n, classes) by role, or None where there are none, or they are damaged."""
    try:
        content = strip_bytes_checksum(_place(wanted, cache).read_bytes())
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            found = {role: stored[role] for role in ROLES}
            whole = str(stored["key"]) == wanted.key
    except Exception:  # a zip that is none has errors of its own
        return None
    shapes = whole and all(found[role].ndim > 1 and len(found[role]) == len(wanted.rows[role]) for role in ROLES)
    return found if shapes and all(np.isfinite(found[role]).all() for role in ROLES) else None


def compute(
    wanted: Wanted,
    model: "Classifier",
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Logits:
    """Logits (n, classes) by role, float32.

    Args:
        wanted: which.
        model: in eval mode.
        images: all images of the data set (n, H, W, 3), uint8.
        device: torch device.
        batch_size: images at once.
        advance: called with the number of images done.

    Raises:
        RunError: a logit is not finite.
    """
    import torch

    model = model.to(device).eval()
    found: Logits = {}
    # TF32 convolutions would put a GPU's logits further from the bundle's than its parity gate allows.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for role, rows in wanted.rows.items():
            parts = []
            for start in range(0, len(rows), batch_size):
                batch = torch.from_numpy(np.ascontiguousarray(images[rows[start : start + batch_size]])).to(device)
                parts.append(model(model.preprocess(batch)).float().cpu().numpy())
                advance(len(batch))
            found[role] = np.concatenate(parts)
            if bad := int((~np.isfinite(found[role].reshape(len(rows), -1))).any(axis=1).sum()):
                raise RunError(
                    f"fold {wanted.fold}: {bad} of {len(rows)} {role} images have logits that are not finite "
                    f"({wanted.trained.path}): its training diverged; lower the learning rate"
                )
    return found


def store(wanted: Wanted, found: Logits, cache: Path) -> None:
    """Keeps `found` for `load`."""
    arrays: dict[str, Any] = {"key": np.array(wanted.key), **found}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    with atomic_write(_place(wanted, cache)) as temporary:
        temporary.write_bytes(add_bytes_checksum(stream.getvalue()))  # a zip leaves some of its own bits unchecked


def _place(wanted: Wanted, cache: Path) -> Path:
    return cache / "logits" / f"{wanted.key}.npz"


def save(path: Path, wanted: Sequence[Wanted], outputs: Sequence[Logits]) -> None:
    """Write the outputs of all folds with their rows, `fold<k>_<split>_logits` and `fold<k>_<split>_rows`."""
    arrays: dict[str, Any] = {}
    for one, found in zip(wanted, outputs, strict=True):
        for role, values in found.items():
            arrays[f"fold{one.fold}_{role}_logits"] = values
            arrays[f"fold{one.fold}_{role}_rows"] = one.rows[role]
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
