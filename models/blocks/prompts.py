"""Prompt tokens in the blocks of a ViT."""

import math
from typing import Any

import torch
from torch import Tensor, nn


class PromptedBlocks(nn.Sequential):
    """Blocks of a ViT with learned prompt tokens between the prefix (class and register tokens) and the patch tokens.

    Attributes:
        prompts: p = `tokens` prompt tokens, (1, p, C) for the first block or, if `deep`, (depth, p, C) for every block.
            The initialization is the uniform Xavier initialization of VPT.
    """

    def __init__(self, backbone: Any, tokens: int, deep: bool) -> None:
        super().__init__(*backbone.blocks)
        channels = backbone.embed_dim
        patch = backbone.patch_embed.patch_size
        limit = math.sqrt(6 / (3 * math.prod(patch) + channels))
        self.prefix_tokens = backbone.num_prefix_tokens
        self.prompts = nn.Parameter(torch.empty(len(backbone.blocks) if deep else 1, tokens, channels))
        nn.init.uniform_(self.prompts, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Map prefix and patch tokens (B, P + N, C) to (B, P + N, C), without the prompt tokens."""
        start, count = self.prefix_tokens, self.prompts.shape[1]
        for index, block in enumerate(self):
            if index < len(self.prompts):
                end = start if index == 0 else start + count
                # Not len(x), which would be a constant in an exported graph.
                prompts = self.prompts[index].expand(x.shape[0], -1, -1)
                x = torch.cat([x[:, :start], prompts, x[:, end:]], dim=1)
            x = block(x)
        return torch.cat([x[:, :start], x[:, start + count :]], dim=1)
