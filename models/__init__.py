"""Networks: backbones, heads and PEFT methods."""
