"""Layers that shared factors do not fit."""

import pytest
import timm

from medtune.config.errors import InputError
from medtune.models.peft import fact


def test_inject__rejects_layers_of_another_width():
    backbone = timm.create_model("eva02_tiny_patch14_224", num_classes=0, depth=1, embed_dim=48, num_heads=2)
    with pytest.raises(InputError, match=r"model\.peft\.method=fact: .* of Eva, .* not multiples of 48\. Choose"):
        fact.inject(backbone, fact.Params())
