"""Common type of the networks of all tasks."""

from torch import nn


class Network(nn.Module):
    """A backbone, which PEFT methods adapt, and a head, which is always trained.

    Attributes:
        backbone: maps the input to features; an empty `nn.Identity` for a network without a backbone.
        head: maps the features to logits.
    """

    backbone: nn.Module
    head: nn.Module
