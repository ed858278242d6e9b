"""Prompt tokens in the blocks of a ViT."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class PromptedBlocks(nn.Sequential):
    """Blocks of a ViT with learned prompt tokens between the prefix (class and register tokens) and the patch tokens.

    Hooks on the blocks insert and remove the prompts, because timm calls every block separately with gradient
    checkpointing. A method `forward` would then not be called, and the prompts would get no gradient.

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
        # Partial functions of methods, which a copy of the network binds to itself.
        for index in range(len(self.prompts)):
            self[index].register_forward_pre_hook(partial(self._insert, index))
        self[-1].register_forward_hook(self._remove)

    def _insert(self, index: int, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the prompts of a block to its tokens (B, P + N, C), or replace those of the previous block."""
        x, *others = inputs
        start = self.prefix_tokens
        end = start if index == 0 else start + self.prompts.shape[1]
        # Not len(x), which would be a constant in an exported graph.
        prompts = self.prompts[index].expand(x.shape[0], -1, -1)
        return torch.cat([x[:, :start], prompts, x[:, end:]], dim=1), *others

    def _remove(self, _: nn.Module, __: Any, x: Tensor) -> Tensor:
        """Return the tokens of the last block without the prompts, (B, P + N, C)."""
        start = self.prefix_tokens
        return torch.cat([x[:, :start], x[:, start + self.prompts.shape[1] :]], dim=1)
