"""Learned keys and values in the attention of a ViT."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PrefixedAttention(nn.Module):
    """timm's attention with p = `tokens` additional learned keys and values per head.

    Attributes:
        keys, values: (heads, p, head dim). If the attention has a key norm, the norm also applies to `keys`.
    """

    def __init__(self, attention: nn.Module, tokens: int) -> None:
        super().__init__()
        self.attention = attention
        size = (attention.num_heads, tokens, attention.head_dim)
        self.keys = nn.Parameter(0.02 * torch.randn(size))
        self.values = nn.Parameter(0.02 * torch.randn(size))

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C).

        Args:
            x: tokens (B, N, C).
            attn_mask: must be None.
            is_causal: must be False.

        Returns:
            Tokens (B, N, C).

        Raises:
            ValueError: `attn_mask` or `is_causal` is set. A mask would not cover the learned keys.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("attention with learned keys does not support a mask")
        attention = self.attention
        batch, tokens, _ = x.shape
        qkv = attention.qkv(x).reshape(batch, tokens, 3, attention.num_heads, attention.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        key = attention.k_norm(torch.cat([self.keys.expand(batch, -1, -1, -1).to(key.dtype), key], dim=2))
        value = torch.cat([self.values.expand(batch, -1, -1, -1).to(value.dtype), value], dim=2)
        mixed = self._attend(attention.q_norm(query), key, value).transpose(1, 2).reshape(batch, tokens, -1)
        mixed = attention.norm(mixed)
        if attention.gate is not None:
            mixed = mixed * attention.gate(x).sigmoid()
        return attention.proj_drop(attention.proj(mixed))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attention = self.attention
        if attention.fused_attn:
            drop = attention.attn_drop.p if attention.training else 0.0
            return functional.scaled_dot_product_attention(query, key, value, dropout_p=drop)
        weights = (query * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
        return attention.attn_drop(weights) @ value
