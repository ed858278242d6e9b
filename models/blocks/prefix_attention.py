"""Learned keys and values in a ViT's attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PrefixedAttention(nn.Module):
    """timm's attention whose queries also meet `tokens` learned keys and values a head.

    Attributes:
        keys, values: (heads, p, head dim); the keys pass the attention's own key norm, where it has one.
    """

    def __init__(self, attention: nn.Module, tokens: int) -> None:
        super().__init__()
        self.attention = attention
        size = (attention.num_heads, tokens, attention.head_dim)
        self.keys = nn.Parameter(0.02 * torch.randn(size))
        self.values = nn.Parameter(0.02 * torch.randn(size))

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """(B, N, C) -> (B, N, C).

        Raises:
            ValueError: a mask is given; it would not cover the learned keys.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("attention with learned keys takes no mask")
        own = self.attention
        batch, tokens, _ = x.shape
        qkv = own.qkv(x).reshape(batch, tokens, 3, own.num_heads, own.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        key = own.k_norm(torch.cat([self.keys.expand(batch, -1, -1, -1).to(key.dtype), key], dim=2))
        value = torch.cat([self.values.expand(batch, -1, -1, -1).to(value.dtype), value], dim=2)
        mixed = self._attend(own.q_norm(query), key, value).transpose(1, 2).reshape(batch, tokens, -1)
        mixed = own.norm(mixed)
        if own.gate is not None:
            mixed = mixed * own.gate(x).sigmoid()
        return own.proj_drop(own.proj(mixed))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        own = self.attention
        if own.fused_attn:
            drop = own.attn_drop.p if own.training else 0.0
            return functional.scaled_dot_product_attention(query, key, value, dropout_p=drop)
        weights = (query * own.scale @ key.transpose(-2, -1)).softmax(dim=-1)
        return own.attn_drop(weights) @ value
