"""Ensemble of the networks of all folds for volumes: one PyTorch module from windows to probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medtune.export.ensemble import Member
from medtune.serving.members import MEMBERS


class VolumeEnsemble(nn.Module):
    """Module from normalized windows (B, C, X, Y, Z) to the probabilities (B, K, X, Y, Z) of M networks.

    A window is a part of a volume.

    Attributes:
        networks: the networks.
        output_layers: layer from the logits (B, K, X, Y, Z) of each network to its probabilities.
        names: names of the tensors that `forward` returns.
    """

    def __init__(self, members: Sequence[Member], output: str) -> None:
        """Combine trained networks.

        Args:
            members: trained networks, at least one.
            output: name of the mean of the probabilities.
        """
        super().__init__()
        self.networks = nn.ModuleList(member.network.float() for member in members)
        self.output_layers = nn.ModuleList(member.output_layer for member in members)
        self.names = [output, MEMBERS]
        self.eval()

    @property
    def description(self) -> str:
        """Phrase with the number of networks, for messages."""
        return "the network" if len(self.networks) == 1 else f"the mean of {len(self.networks)} networks"

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the outputs.

        Args:
            windows: (B, C, X, Y, Z) float32.

        Returns:
            The mean (B, K, X, Y, Z) and the outputs of the networks (B, M, K, X, Y, Z).
        """
        outputs = torch.stack(
            [layer(network(windows)) for network, layer in zip(self.networks, self.output_layers, strict=True)], dim=1
        )
        return outputs.mean(dim=1), outputs
