"""Precision, device and optimizer, as params say and the device allows."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from config.training import TrainingParams


def accelerator_for(params: TrainingParams, device: str) -> Accelerator:
    """An Accelerator on `device` with the precision that params ask for and the device has."""
    AcceleratorState._reset_state()
    kind = torch.device(device).type
    precision = params.precision
    if precision == "auto":
        precision = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and kind == "cpu":
        raise RuntimeError("precision fp16 needs a GPU; on a CPU choose fp32 or bf16")
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, cpu=kind == "cpu")


def optimizer_for(network: nn.Module, params: TrainingParams) -> torch.optim.Optimizer:
    """AdamW without decay on 1-D tensors, or the paper's Adam with coupled decay on all."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if params.optimizer == "adam":
        return torch.optim.Adam(trained, lr=params.lr, weight_decay=params.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=params.lr, fused=True)
