"""The networks of all folds as one module: uint8 pixels to the mean of their calibrated outputs, and each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medtune.models.classifier import Classifier
from medtune.models.weights import state_sha256
from medtune.serving.members import DECISION, MEMBERS


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes:
        network: merged, in eval mode, on the CPU.
        output_layer: from its logits (B, ...) to its final output.
    """

    network: Classifier
    output_layer: nn.Module


class Ensemble(nn.Module):
    """uint8 (B, H, W, 3) to the outputs of M networks; networks with the same backbone share it.

    Attributes:
        networks: one per distinct backbone; its own head is the head of its first member.
        heads: one per member.
        output_layers: one per member.
        shared: index in `networks` of each member.
        names: of what `forward` returns.
    """

    def __init__(self, members: Sequence[Member], output: str | None, decision_layer: nn.Module | None = None) -> None:
        """Combine trained networks.

        Args:
            members: at least one.
            output: name of the mean of the outputs; None where there is no mean, only `members`.
            decision_layer: from the mean (B, ...) to the decision, int64; None: there is none.
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

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (B, H, W, 3) to a tensor per entry of `names`: (B, ...), the decision (B, ...), (B, M, ...)."""
        pixels = self.networks[0].preprocess(images)  # type: ignore[operator]
        features = [network.features(pixels) for network in self.networks]  # type: ignore[operator]
        outputs = torch.stack(
            [
                layer(head(features[index]))
                for index, head, layer in zip(self.shared, self.heads, self.output_layers, strict=True)
            ],
            dim=1,
        )
        found: list[Tensor] = []
        if len(self.names) > 1:
            found.append(outputs.mean(dim=1))
        if self.decision_layer is not None:
            found.append(self.decision_layer(found[0]))
        return (*found, outputs)
