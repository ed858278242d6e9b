"""Ensemble of the networks of all folds for volumes: one PyTorch module from windows to probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from medtune.export.ensemble import Member
from medtune.serving.members import MEMBERS
from medtune.serving.volumes.network_features import FEATURES

if TYPE_CHECKING:
    from medtune.tasks.segmentation.feature_space import FeatureSpace


class Whitening(nn.Module):
    """Linear map of the features of a network (see `FeatureSpace`)."""

    center: Tensor
    matrix: Tensor

    def __init__(self, space: "FeatureSpace") -> None:
        super().__init__()
        self.register_buffer("center", torch.from_numpy(space.center).float())
        self.register_buffer("matrix", torch.from_numpy(space.whitening).float())

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, F) to whitened features (B, F)."""
        return (features - self.center) @ self.matrix


class VolumeEnsemble(nn.Module):
    """Module from normalized windows (B, C, X, Y, Z) to the probabilities (B, K, X, Y, Z) of M networks.

    A window is a part of a volume.

    Attributes:
        networks: the networks.
        output_layers: layer from the logits (B, K, X, Y, Z) of each network to its probabilities.
        whitening: linear map of the features of each network; empty without features.
        names: names of the tensors that `forward` returns.
    """

    def __init__(self, members: Sequence[Member], output: str, spaces: "Sequence[FeatureSpace]" = ()) -> None:
        """Combine trained networks.

        Args:
            members: trained networks, at least one.
            output: name of the mean of the probabilities.
            spaces: map of the features of each network; empty to compute no features.
        """
        super().__init__()
        self.networks = nn.ModuleList(member.network.float() for member in members)
        self.output_layers = nn.ModuleList(member.output_layer for member in members)
        self.whitening = nn.ModuleList(Whitening(space) for space in spaces)
        self.names = [output, MEMBERS, *([FEATURES] if spaces else [])]
        self.eval()

    @property
    def description(self) -> str:
        """Phrase with the number of networks, for messages."""
        return "the network" if len(self.networks) == 1 else f"the mean of {len(self.networks)} networks"

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Args:
            windows: (B, C, X, Y, Z) float32.

        Returns:
            The mean (B, K, X, Y, Z), the outputs of the networks (B, M, K, X, Y, Z), and their features (B, M, F) if
            the module computes them.
        """
        outputs, features = [], []
        for index, (network, layer) in enumerate(zip(self.networks, self.output_layers, strict=True)):
            if self.whitening:
                logits, found = network.forward_with_features(windows)  # type: ignore[operator]
                features.append(self.whitening[index](found))
            else:
                logits = network(windows)
            outputs.append(layer(logits))
        stacked = torch.stack(outputs, dim=1)
        parts = (stacked.mean(dim=1), stacked)
        return (*parts, torch.stack(features, dim=1)) if features else parts
