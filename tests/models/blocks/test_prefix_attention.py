"""Comparison of learned keys and values with a direct computation, and with timm if there are none."""

import pytest
import timm
import torch
from timm.layers import Attention

from medtune.config.errors import InputError
from medtune.models.blocks.prefix_attention import PrefixedAttention
from medtune.models.peft import prefix

OPTIONS = [{}, {"qk_norm": True, "norm_layer": torch.nn.LayerNorm}, {"gated": True},
           {"scale_norm": True, "norm_layer": torch.nn.LayerNorm}]  # fmt: skip


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_attention__without_learned_keys_equals_timm(fused, options):
    torch.manual_seed(0)
    attention = Attention(24, num_heads=3, qkv_bias=True, **options)
    attention.fused_attn = fused
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(PrefixedAttention(attention, 0)(x), attention(x))


@pytest.mark.parametrize("fused", [True, False])
def test_attention__learned_keys_act_like_an_additional_token(fused):
    torch.manual_seed(0)
    attention = Attention(24, num_heads=3)
    attention.fused_attn = fused
    x = torch.randn(1, 7, 24)
    _, key, value = attention.qkv(x[:, :2]).reshape(2, 3, 3, 8).permute(1, 2, 0, 3).unbind(0)
    prefixed = PrefixedAttention(attention, 2)
    with torch.no_grad():
        prefixed.keys.copy_(key)
        prefixed.values.copy_(value)
    torch.testing.assert_close(prefixed(x[:, 2:]), attention(x)[:, 2:])


def test_inject__rejects_an_unknown_attention():
    backbone = timm.create_model("beit_base_patch16_224", num_classes=0, depth=1, embed_dim=24, num_heads=3)
    with pytest.raises(InputError, match="method=prefix: it does not support the attention of Beit"):
        prefix.inject(backbone, prefix.Params())
