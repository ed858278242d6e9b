"""Outputs of trained networks for evaluation. A frozen backbone that all folds share runs once per image."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medtune.config.errors import RunError
from medtune.evaluation.outputs import Outputs, OutputsRequest, compute_outputs, compute_shared_outputs
from medtune.runtime.artifact import Artifact
from medtune.training import checkpoint
from medtune.training.artifacts import load_validation_outputs
from medtune.training.checkpoint import load_trained

if TYPE_CHECKING:
    from torch import nn


def compute_trained_outputs(
    requests: Sequence[OutputsRequest],
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Iterator[Outputs]:
    """Compute the outputs for each request.

    If the saved weights were also trained on the validation images, stored outputs of other weights are used for these
    images (`medtune.training.artifacts.load_validation_outputs`).

    Args:
        requests: one per trained fold, all trained with the same params.
        images: all images of the data set (n, H, W, 3), uint8.
        device: torch device.
        batch_size: images per batch.
        advance: called after each batch with its number of images. `backbone_runs` returns the total.

    Yields:
        Outputs in the order of the requests.

    Raises:
        RunError: a logit is not finite, or an artifact is damaged.
    """
    for request, outputs in zip(requests, _computed(requests, images, device, batch_size, advance), strict=True):
        rows = request.indices.get("val")
        stored = None if rows is None else load_validation_outputs(request.trained, rows)
        yield outputs if stored is None else outputs | {"val": stored}


def _computed(
    requests: Sequence[OutputsRequest],
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Iterator[Outputs]:
    """Yield the outputs of the saved weights for each request."""
    if shares_backbone(requests):
        first, *others = requests
        model = load_trained(first.trained)
        heads = [model.head, *(_load_head(other.trained, model.head) for other in others)]
        yield from compute_shared_outputs(requests, model, heads, images, device, batch_size, advance)
    else:
        for request in requests:
            model = load_trained(request.trained)
            yield compute_outputs(request, model, images, device, batch_size, advance)


def backbone_runs(requests: Sequence[OutputsRequest]) -> int:
    """Return the number of images that pass a backbone in `compute_trained_outputs`."""
    rows = np.concatenate([indices for request in requests for indices in request.indices.values()])
    return len(np.unique(rows) if shares_backbone(requests) else rows)


def shares_backbone(requests: Sequence[OutputsRequest]) -> bool:
    """Check that several networks with the same params differ only in their heads.

    Only the frozen stage records `backbone_sha256`, and `load_trained` verifies it. Networks of stage 2 may differ in
    all weights.

    Args:
        requests: one per network.

    Returns:
        True if they have the same backbone.
    """
    backbones = {request.trained.result().get("backbone_sha256") for request in requests}
    return len(requests) > 1 and len(backbones) == 1 and None not in backbones


def _load_head(artifact: Artifact, template: "nn.Module") -> "nn.Module":
    """Load the trained head of `artifact`, which has the structure of `template`."""
    stored = checkpoint.read(artifact.folder / "model.safetensors")
    if stored is None:
        raise RunError(f"{artifact.path}: model.safetensors is damaged. Delete the folder and run again")
    head = deepcopy(template)
    head.load_state_dict(stored[0], strict=True)
    return head.eval()
