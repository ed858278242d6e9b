"""A classifier from pixels to probabilities as one PyTorch module: the reference for exported graphs."""

import torch
from torch import Tensor, nn

from medtune.models.classifier import Classifier


class InferenceModel(nn.Module):
    """Network from uint8 images (B, H, W, 3) to probabilities (B, classes), including normalization and temperature.

    Attributes:
        network: a merged classifier in eval mode.
        temperature: () divisor of the logits.
    """

    temperature: Tensor

    def __init__(self, network: Classifier, temperature: float) -> None:
        super().__init__()
        self.network = network.float().eval()
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute probabilities (B, classes) from uint8 images (B, H, W, 3)."""
        logits = self.network(self.network.preprocess(images))
        return torch.softmax(logits / self.temperature, dim=-1)
