"""Store a network's outputs for a fold's images that are scored, so that a change of `evaluate.*` reuses them."""

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
from medtune.serving.members import REFIT, network_name

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import nn

    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier

SPLITS = ("val", "test")
EXTERNAL = "external"
Outputs = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class OutputsRequest:
    """Which logits: of one chain's trained model on its validation and test images.

    Attributes:
        fold: the chain's test fold.
        trained: the model.
        indices: rows of the manifest for each of `SPLITS`, and for `EXTERNAL` where there are such images; of a network
            that was trained on all images only the latter.
        key: what their content follows from.
    """

    fold: int
    trained: Artifact
    indices: dict[str, npt.NDArray[np.int64]]
    key: str

    @classmethod
    def for_artifact(cls, trained: Artifact, prepared: "PreparedDataset") -> "OutputsRequest":
        """The logits that evaluating `trained` needs."""
        fold = int(trained.result()["fold"])
        split_digest = prepared.split_digest(fold)
        rows = prepared.indices(fold)
        # trained.key holds the source of the network's code, trained.sha256 its weights.
        source = source_fingerprint("medtune.evaluation.outputs")
        key = digest(["logits", trained.key, trained.sha256, prepared.digest, split_digest, source])
        external = prepared.external_indices(fold)
        also = {EXTERNAL: external} if len(external) else {}
        unseen = {} if fold == REFIT else {split: rows[split] for split in SPLITS}
        return cls(fold, trained, unseen | also, key)


def load_outputs(request: OutputsRequest, cache: Path) -> Outputs | None:
    """Stored logits (n, classes) by role, or None where there are none, or they are damaged."""
    try:
        content = strip_bytes_checksum(_path(request, cache).read_bytes())
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            outputs = {split: stored[split] for split in request.indices}
            whole = str(stored["key"]) == request.key
    except Exception:  # a zip that is none has errors of its own
        return None
    shapes = whole and all(
        outputs[split].ndim > 1 and len(outputs[split]) == len(rows) for split, rows in request.indices.items()
    )
    return outputs if shapes and all(np.isfinite(found).all() for found in outputs.values()) else None


def compute_outputs(
    request: OutputsRequest,
    model: "Classifier",
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Outputs:
    """Logits (n, classes) by role, float32.

    Args:
        request: which.
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
    outputs: Outputs = {}
    with torch.inference_mode(), _without_tf32():
        for split, rows in request.indices.items():
            parts = []
            for start in range(0, len(rows), batch_size):
                batch = torch.from_numpy(np.ascontiguousarray(images[rows[start : start + batch_size]])).to(device)
                parts.append(model(model.preprocess(batch)).float().cpu().numpy())
                advance(len(batch))
            outputs[split] = np.concatenate(parts)
            _check_finite(request, split, outputs[split])
    return outputs


def compute_shared_outputs(
    requests: Sequence[OutputsRequest],
    model: "Classifier",
    heads: "Sequence[nn.Module]",
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> list[Outputs]:
    """Logits of several heads on one frozen backbone, which runs once per image that any of them scores.

    The stored training features are in half precision; these are not, so the logits equal those of
    `compute_outputs` up to the last digits that a batch of other images changes.

    Args:
        requests: one per head.
        model: any of the trained models, in eval mode; its backbone, normalization and feature kind are those of all.
        heads: of the trained models, in the order of `requests`.
        images: all images of the data set (n, H, W, 3), uint8.
        device: torch device.
        batch_size: images at once.
        advance: called with the number of images done.

    Returns:
        For each request its logits (n, classes) by role, float32.

    Raises:
        RunError: a logit is not finite.
    """
    import torch

    model = model.to(device).eval()
    heads = [head.to(device).eval() for head in heads]
    scored = [np.unique(np.concatenate(list(request.indices.values()))) for request in requests]
    rows = np.unique(np.concatenate(scored))
    parts: list[list[npt.NDArray[np.float32]]] = [[] for _ in requests]
    with torch.inference_mode(), _without_tf32():
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            features = model.features(model.preprocess(torch.from_numpy(images[batch]).to(device)))
            for head, own, done in zip(heads, scored, parts, strict=True):
                if (mask := np.isin(batch, own)).any():
                    done.append(head(features[torch.from_numpy(mask).to(device)]).float().cpu().numpy())
            advance(len(batch))
    found = []
    for request, own, done in zip(requests, scored, parts, strict=True):
        values = np.concatenate(done)
        found.append({split: values[np.searchsorted(own, indices)] for split, indices in request.indices.items()})
        for split, outputs in found[-1].items():
            _check_finite(request, split, outputs)
    return found


def _without_tf32() -> "AbstractContextManager[None]":
    """TF32 convolutions would put a GPU's logits further from the bundle's than its parity gate allows."""
    import torch

    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _check_finite(request: OutputsRequest, split: str, outputs: npt.NDArray[np.float32]) -> None:
    if bad := int((~np.isfinite(outputs.reshape(len(outputs), -1))).any(axis=1).sum()):
        raise RunError(
            f"{network_name(request.fold)}: {bad} of {len(outputs)} {split} images have logits that are not finite "
            f"({request.trained.path}): its training diverged; lower the learning rate"
        )


def store_outputs(request: OutputsRequest, outputs: Outputs, cache: Path) -> None:
    """Keeps `outputs` for `load_outputs`."""
    arrays: dict[str, Any] = {"key": np.array(request.key), **outputs}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    with atomic_write(_path(request, cache)) as temporary:
        temporary.write_bytes(add_bytes_checksum(stream.getvalue()))  # a zip leaves some of its own bits unchecked


def _path(request: OutputsRequest, cache: Path) -> Path:
    return cache / "logits" / f"{request.key}.npz"


def save_outputs(path: Path, requests: Sequence[OutputsRequest], outputs: Sequence[Outputs]) -> None:
    """Write the outputs of all networks with their rows, `fold<k>_<split>_logits` and `fold<k>_<split>_rows`.

    Names of the network that was trained on all images begin with `refit_`.
    """
    arrays: dict[str, Any] = {}
    for request, fold_outputs in zip(requests, outputs, strict=True):
        for split, values in fold_outputs.items():
            name = network_name(request.fold).replace(" ", "")
            arrays[f"{name}_{split}_logits"] = values
            arrays[f"{name}_{split}_rows"] = request.indices[split]
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
