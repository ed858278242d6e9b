"""Stored network outputs for the validation and test images of a fold.

The outputs do not depend on the `evaluate.*` params. An evaluation with other values of these params reuses them.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    """Request for the logits of one fold's network on its validation and test images.

    Attributes:
        fold: test fold.
        trained: artifact of the trained network.
        indices: image indices for each of `SPLITS`, and for `EXTERNAL` if there are external images. A network that was
            trained on all images has only `EXTERNAL`.
        key: cache key of the logits.
    """

    fold: int
    trained: Artifact
    indices: dict[str, npt.NDArray[np.int64]]
    key: str

    def without_external(self) -> "OutputsRequest":
        """Return the request without the external images."""
        return replace(self, indices={split: rows for split, rows in self.indices.items() if split != EXTERNAL})

    @classmethod
    def for_artifact(cls, trained: Artifact, prepared: "PreparedDataset") -> "OutputsRequest":
        """Build the request for all logits that the evaluation of `trained` needs."""
        fold = int(trained.result()["fold"])
        split_digest = prepared.split_digest(fold)
        rows = prepared.indices(fold)
        # trained.key covers the source code of the network, trained.sha256 covers its weights.
        source = source_fingerprint("medtune.evaluation.outputs")
        key = digest(["logits", trained.key, trained.sha256, prepared.digest, split_digest, source])
        external = prepared.external_indices(fold)
        external_indices = {EXTERNAL: external} if len(external) else {}
        unseen = {} if fold == REFIT else {split: rows[split] for split in SPLITS}
        return cls(fold, trained, unseen | external_indices, key)


def load_outputs(request: OutputsRequest, cache: Path) -> Outputs | None:
    """Load stored logits (n, classes) by split; None if the file is missing or corrupted."""
    try:
        content = strip_bytes_checksum(_path(request, cache).read_bytes())
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            outputs = {split: stored[split] for split in request.indices}
            key_matches = str(stored["key"]) == request.key
    except Exception:  # a corrupted zip file raises many kinds of errors
        return None
    valid = key_matches and all(
        outputs[split].ndim > 1 and len(outputs[split]) == len(rows) for split, rows in request.indices.items()
    )
    return outputs if valid and all(np.isfinite(logits).all() for logits in outputs.values()) else None


def compute_outputs(
    request: OutputsRequest,
    model: "Classifier",
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Outputs:
    """Compute the logits of one network.

    Args:
        request: requested logits.
        model: trained network in eval mode.
        images: all images of the dataset, (n, H, W, 3) uint8.
        device: torch device.
        batch_size: images per batch.
        advance: called with the number of images finished since the last call.

    Returns:
        (n, classes) float32 logits by split.

    Raises:
        RunError: a logit is not finite.
    """
    import torch

    model = model.to(device).eval()
    outputs: Outputs = {}
    with torch.inference_mode(), without_tf32():
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
    """Compute the logits of several heads that share one frozen backbone, which runs once per image.

    The features are computed here in full precision. The stored training features, with half precision, are not used.
    The logits therefore equal those of `compute_outputs`, except for rounding differences between batches.

    Args:
        requests: one request per head.
        model: any of the trained models, in eval mode. All share its backbone, normalization and feature kind.
        heads: heads of the trained models, in the order of `requests`.
        images: all images of the dataset, (n, H, W, 3) uint8.
        device: torch device.
        batch_size: images per batch.
        advance: called with the number of images finished since the last call.

    Returns:
        (n, classes) float32 logits by split, one dictionary per request.

    Raises:
        RunError: a logit is not finite.
    """
    import torch

    model = model.to(device).eval()
    heads = [head.to(device).eval() for head in heads]
    indices_per_request = [np.unique(np.concatenate(list(request.indices.values()))) for request in requests]
    rows = np.unique(np.concatenate(indices_per_request))
    parts: list[list[npt.NDArray[np.float32]]] = [[] for _ in requests]
    with torch.inference_mode(), without_tf32():
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            features = model.features(model.preprocess(torch.from_numpy(images[batch]).to(device)))
            for head, indices, logits in zip(heads, indices_per_request, parts, strict=True):
                if (mask := np.isin(batch, indices)).any():
                    logits.append(head(features[torch.from_numpy(mask).to(device)]).float().cpu().numpy())
            advance(len(batch))
    all_outputs = []
    for request, indices, logits in zip(requests, indices_per_request, parts, strict=True):
        values = np.concatenate(logits)
        outputs = {split: values[np.searchsorted(indices, wanted)] for split, wanted in request.indices.items()}
        for split, split_logits in outputs.items():
            _check_finite(request, split, split_logits)
        all_outputs.append(outputs)
    return all_outputs


def without_tf32() -> "AbstractContextManager[None]":
    """Return a context that disables TF32.

    With TF32, the logits of a GPU differ from those of the bundle by more than the parity check of export allows.
    """
    import torch

    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _check_finite(request: OutputsRequest, split: str, outputs: npt.NDArray[np.float32]) -> None:
    if bad := int((~np.isfinite(outputs.reshape(len(outputs), -1))).any(axis=1).sum()):
        raise RunError(
            f"{network_name(request.fold)}: {bad} of {len(outputs)} {split} images have logits that are not finite "
            f"({request.trained.path}). The training diverged. Lower the learning rate."
        )


def cache_outputs(request: OutputsRequest, outputs: Outputs, cache: Path) -> None:
    """Write `outputs` to the cache, from which `load_outputs` reads them."""
    arrays: dict[str, Any] = {"key": np.array(request.key), **outputs}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    with atomic_write(_path(request, cache)) as temporary:
        temporary.write_bytes(add_bytes_checksum(stream.getvalue()))  # zip checksums do not cover all bytes


def _path(request: OutputsRequest, cache: Path) -> Path:
    return cache / "logits" / f"{request.key}.npz"


def write_outputs_npz(path: Path, requests: Sequence[OutputsRequest], outputs: Sequence[Outputs]) -> None:
    """Write the outputs of all networks with their image indices to one npz file.

    The arrays are `fold<k>_<split>_logits` and `fold<k>_<split>_rows`. Those of the network that was trained on all
    images begin with `refit_`.
    """
    arrays: dict[str, Any] = {}
    for request, fold_outputs in zip(requests, outputs, strict=True):
        for split, values in fold_outputs.items():
            name = network_name(request.fold).replace(" ", "")
            arrays[f"{name}_{split}_logits"] = values
            arrays[f"{name}_{split}_rows"] = request.indices[split]
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
