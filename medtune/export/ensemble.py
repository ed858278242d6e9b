"""Ensemble of the networks of all folds: one PyTorch module from uint8 images to calibrated outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medtune.models.classifier import Classifier
from medtune.models.weights import state_sha256
from medtune.serving.members import DECISION, MEMBERS


@dataclass(frozen=True)
class Member:
    """Trained network of an ensemble.

    Attributes:
        network: network in eval mode on the CPU: a `Classifier`, or a network for volumes.
        output_layer: layer from the logits (B, ...) to the calibrated output.
    """

    network: Any
    output_layer: nn.Module


class Ensemble(nn.Module):
    """Module from uint8 images (B, H, W, 3) to the outputs of M networks.

    Networks with equal backbone weights share one backbone, which runs only once.

    Attributes:
        networks: one network per distinct backbone.
        heads: one head per member.
        output_layers: one output layer per member.
        shared: for each member, the index in `networks` of its backbone.
        decision_layer: layer from the mean (B, ...) to the int64 decision; None for no decision.
        names: names of the tensors that `forward` returns.
    """

    def __init__(self, members: Sequence[Member], output: str | None, decision_layer: nn.Module | None = None) -> None:
        """Combine trained networks.

        Args:
            members: trained networks, at least one.
            output: name of the mean of the outputs; None to return only the outputs of the members.
            decision_layer: layer from the mean (B, ...) to the int64 decision; None for no decision.
        """
        super().__init__()
        networks: dict[str, Classifier] = {}
        digests = [state_sha256(member.network.backbone) for member in members]
        for digest, member in zip(digests, members, strict=True):
            networks.setdefault(digest, member.network.float().eval())
        order = list(networks)
        self.networks = nn.ModuleList(networks.values())
        self.shared = [order.index(digest) for digest in digests]
        self.heads = nn.ModuleList(member.network.head.float() for member in members)
        self.output_layers = nn.ModuleList(member.output_layer for member in members)
        self.decision_layer = decision_layer
        self.names = [*([output] if output else []), *([DECISION] if decision_layer else []), MEMBERS]
        self.eval()

    @property
    def description(self) -> str:
        """Phrase with the number of networks and backbones, for messages."""
        members, backbones = len(self.heads), len(self.networks)
        if members == 1:
            return "the network"
        return f"the mean of {members} networks with {backbones} backbone{'s' if backbones > 1 else ''}"

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Args:
            images: (B, H, W, 3) uint8.

        Returns:
            One tensor per entry of `names`: the mean (B, ...), the decision (B, ...) and the outputs of the members
            (B, M, ...). The mean and the decision are optional.
        """
        pixels = self.networks[0].preprocess(images)  # type: ignore[operator]
        features = [network.features(pixels) for network in self.networks]  # type: ignore[operator]
        outputs = torch.stack(
            [
                layer(head(features[index]))
                for index, head, layer in zip(self.shared, self.heads, self.output_layers, strict=True)
            ],
            dim=1,
        )
        combined: list[Tensor] = []
        if len(self.names) > 1:
            combined.append(outputs.mean(dim=1))
        if self.decision_layer is not None:
            combined.append(self.decision_layer(combined[0]))
        return (*combined, outputs)
