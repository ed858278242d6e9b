"""Precision, device and optimizer, as params say and the device allows."""

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import nn

from medtune.config.training import TrainingParams


def build_accelerator(params: TrainingParams, device: str, unused: bool = False) -> Accelerator:
    """An Accelerator on `device` with the precision that params ask for and the device has.

    Args:
        params: `precision` is read.
        device: cpu, cuda, cuda:1, ...
        unused: whether some trained parameters have no part in the loss; asked where processes train together.
    """
    AcceleratorState._reset_state()
    kind = torch.device(device).type
    precision = params.precision
    if precision == "auto":
        precision = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and kind == "cpu":
        raise RuntimeError("precision fp16 needs a GPU; on a CPU choose fp32 or bf16")
    # Buffers change alike in every process: from gradients that all have, or not at all.
    together = DistributedDataParallelKwargs(
        broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=unused
    )
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision, cpu=kind == "cpu", kwargs_handlers=[together]
    )


def build_optimizer(
    network: nn.Module,
    params: TrainingParams,
    lr: float,
    decay_vectors: bool = True,
    head_lr: float | None = None,
) -> torch.optim.Optimizer:
    """Build the optimizer of the parameters that are trained.

    Weight decay does not apply to vectors: biases, scales of norm layers, and the factors by which a PEFT method
    multiplies channels, which decay would pull to 0, away from 1 where they change nothing.

    Args:
        network: parameters with requires_grad are trained.
        params: optimizer and weight decay.
        lr: learning rate.
        decay_vectors: let Adam decay vectors as well: coupled decay of all parameters, as in the paper of CDTM. AdamW
            never does.
        head_lr: highest learning rate of `network.head`, if that is lower than `lr`; None: `lr`.

    Returns:
        The optimizer. The head's groups come last. `initial_lr` of each group is its learning rate before warm-up and
        decay.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    vectors = {id(p) for p in _vectors(network)}
    if params.optimizer == "adam" and decay_vectors:
        vectors = set()
    head: set[int] = set()
    if head_lr is not None and head_lr < lr:
        assert isinstance(network.head, nn.Module)
        head = {id(p) for p in network.head.parameters()}
    groups = []
    for in_head in (False, True):
        for is_vector in (False, True):
            chosen = [p for p in trained if (id(p) in head) == in_head and (id(p) in vectors) == is_vector]
            rate = head_lr if in_head else lr
            decay = 0.0 if is_vector else params.weight_decay
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "lr": rate, "initial_lr": rate})
    if params.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr)
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def _vectors(network: nn.Module) -> list[nn.Parameter]:
    """Parameters with at most one dimension longer than 1, but for the weights of linear layers and convolutions."""
    weights = {
        id(module._parameters.get("weight"))  # the attribute of a parametrized layer would be computed
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    }
    return [p for p in network.parameters() if p.numel() <= max(p.shape, default=1) and id(p) not in weights]
