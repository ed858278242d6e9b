"""A classifier from pixels to probabilities as one PyTorch module: what an exported graph is compared with."""

import torch
from torch import Tensor, nn

from medtune.models.classifier import Classifier


class InferenceModel(nn.Module):
    """uint8 (B, H, W, 3) -> (B, classes) probabilities: normalization and temperature are part of the network.

    Attributes:
        network: a merged classifier in eval mode.
        temperature: () what its logits are divided by.
    """

    temperature: Tensor

    def __init__(self, network: Classifier, temperature: float) -> None:
        super().__init__()
        self.network = network.float().eval()
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) -> (B, classes), rows sum to 1."""
        logits = self.network(self.network.preprocess(images))
        return torch.softmax(logits / self.temperature, dim=-1)
