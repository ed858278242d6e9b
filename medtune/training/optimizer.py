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


def build_optimizer(network: nn.Module, params: TrainingParams, lr: float) -> torch.optim.Optimizer:
    """AdamW without decay on 1-D tensors, or the paper's Adam with coupled decay on all."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if params.optimizer == "adam":
        return torch.optim.Adam(trained, lr=lr, weight_decay=params.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
