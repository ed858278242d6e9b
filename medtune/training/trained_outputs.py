"""Outputs of trained networks on the images that they are evaluated on.

Folds that share a frozen backbone run it once per image.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, cast

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

    from medtune.models.classifier import Classifier


def compute_trained_outputs(
    requests: Sequence[OutputsRequest],
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Iterator[Outputs]:
    """Outputs for each request, in their order, each as soon as it is complete.

    Where the kept weights were trained on the validation images, the outputs for these come from weights that were
    not (`medtune.training.artifacts.load_validation_outputs`).

    Args:
        requests: one per trained fold, all trained with the same params.
        images: all images of the data set (n, H, W, 3), uint8.
        device: torch device.
        batch_size: images at once.
        advance: called with the number of images done, of `backbone_runs`.

    Raises:
        RunError: a logit is not finite, or an artifact is damaged.
    """
    for request, outputs in zip(requests, _computed(requests, images, device, batch_size, advance), strict=True):
        own = request.indices.get("val")
        unseen = None if own is None else load_validation_outputs(request.trained, own)
        yield outputs if unseen is None else outputs | {"val": unseen}


def _computed(
    requests: Sequence[OutputsRequest],
    images: npt.NDArray[np.uint8],
    device: str,
    batch_size: int,
    advance: Callable[..., None],
) -> Iterator[Outputs]:
    if shares_backbone(requests):
        first, *others = requests
        model = cast("Classifier", load_trained(first.trained))
        heads = [model.head, *(_load_head(other.trained, model.head) for other in others)]
        yield from compute_shared_outputs(requests, model, heads, images, device, batch_size, advance)
    else:
        for request in requests:
            model = cast("Classifier", load_trained(request.trained))
            yield compute_outputs(request, model, images, device, batch_size, advance)


def backbone_runs(requests: Sequence[OutputsRequest]) -> int:
    """Number of images that pass a backbone in `compute_trained_outputs`."""
    rows = np.concatenate([indices for request in requests for indices in request.indices.values()])
    return len(np.unique(rows) if shares_backbone(requests) else rows)


def shares_backbone(requests: Sequence[OutputsRequest]) -> bool:
    """Whether several networks, trained with the same params, differ in their heads alone.

    Only the frozen stage records `backbone_sha256`, and `load_trained` verifies it. Networks of stage 2 may differ
    anywhere.
    """
    backbones = {request.trained.result().get("backbone_sha256") for request in requests}
    return len(requests) > 1 and len(backbones) == 1 and None not in backbones


def _load_head(artifact: Artifact, like: "nn.Module") -> "nn.Module":
    """The trained head of `artifact`, which has the structure of `like`."""
    stored = checkpoint.read(artifact.folder / "model.safetensors")
    if stored is None:
        raise RunError(f"{artifact.path}: model.safetensors is damaged")
    head = deepcopy(like)
    head.load_state_dict(stored[0], strict=True)
    return head.eval()
