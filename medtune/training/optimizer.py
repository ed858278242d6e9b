"""Accelerator and optimizer of a training run."""

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import nn

from medtune.config.training import TrainingParams


def build_accelerator(params: TrainingParams, device: str, unused: bool = False) -> Accelerator:
    """Create an Accelerator on a device with the precision of the params.

    Args:
        params: `precision` is read.
        device: cpu, cuda, cuda:1, ...
        unused: True if the loss does not depend on some trained parameters. Used only in distributed training.

    Returns:
        The Accelerator.

    Raises:
        RuntimeError: the device does not support the precision.
    """
    AcceleratorState._reset_state()
    kind = torch.device(device).type
    precision = params.precision
    if precision == "auto":
        precision = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and kind == "cpu":
        raise RuntimeError("precision=fp16: it requires a GPU. Use fp32 or bf16 on a CPU")
    # Buffers are not broadcast. They depend only on gradients, which are the same in all processes.
    ddp_kwargs = DistributedDataParallelKwargs(
        broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=unused
    )
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision, cpu=kind == "cpu", kwargs_handlers=[ddp_kwargs]
    )


def build_optimizer(
    network: nn.Module,
    params: TrainingParams,
    lr: float,
    decay_vectors: bool = True,
    head_lr: float | None = None,
) -> torch.optim.Optimizer:
    """Build the optimizer of the trained parameters.

    Weight decay does not apply to vectors: biases, scales of norm layers, and scales of channels in PEFT methods. The
    decay would pull a scale to 0, but the neutral value of a scale is 1.

    Args:
        network: parameters with requires_grad are trained.
        params: optimizer and weight decay.
        lr: learning rate.
        decay_vectors: apply the coupled decay of Adam to vectors too, as in the paper of CDTM. AdamW ignores
            this argument.
        head_lr: upper bound of the learning rate of `network.head`; None applies no bound.

    Returns:
        The optimizer. The parameter groups of the head are last. `initial_lr` of each group is its learning rate before
        warm-up and decay.
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
            parameters = [p for p in trained if (id(p) in head) == in_head and (id(p) in vectors) == is_vector]
            rate = head_lr if in_head else lr
            decay = 0.0 if is_vector else params.weight_decay
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "lr": rate, "initial_lr": rate})
    if params.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr)
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def _vectors(network: nn.Module) -> list[nn.Parameter]:
    """Return parameters with at most one dimension of size above 1, except weights of linear and conv layers."""
    weights = {
        id(module._parameters.get("weight"))  # the attribute of a parametrized layer is a computed tensor
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    }
    return [p for p in network.parameters() if p.numel() <= max(p.shape, default=1) and id(p) not in weights]
