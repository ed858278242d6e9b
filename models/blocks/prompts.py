"""Prompt tokens through a ViT's blocks."""

import math
from typing import Any

import torch
from torch import Tensor, nn


class Prompted(nn.Sequential):
    """A ViT's blocks with learned tokens between its prefix and its patch tokens.

    Attributes:
        prompts: (1 or depth, p, C), drawn uniformly as in VPT's equation for Xavier initialisation.
    """

    def __init__(self, backbone: Any, tokens: int, deep: bool) -> None:
        super().__init__(*backbone.blocks)
        channels = backbone.embed_dim
        patch = backbone.patch_embed.patch_size
        limit = math.sqrt(6 / (3 * math.prod(patch) + channels))
        self.prefix = backbone.num_prefix_tokens
        self.prompts = nn.Parameter(torch.empty(len(backbone.blocks) if deep else 1, tokens, channels))
        nn.init.uniform_(self.prompts, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, P + N, C) -> (B, P + N, C)."""
        at, count = self.prefix, self.prompts.shape[1]
        for index, block in enumerate(self):
            if index < len(self.prompts):
                after = at if index == 0 else at + count
                own = self.prompts[index].expand(x.shape[0], -1, -1)  # len(x) would be a constant in an exported graph
                x = torch.cat([x[:, :at], own, x[:, after:]], dim=1)
            x = block(x)
        return torch.cat([x[:, :at], x[:, at + count :]], dim=1)
