"""Distribution of batches over processes, and synchronization of the processes.

With a single process, there is no communication.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medtune.runtime import distributed

ALL_ROWS = slice(None)


def local_slice(batch: int) -> tuple[slice, float]:
    """Return the rows of a batch that this process computes, and the weight of their loss.

    A batch may have fewer rows than there are processes. A process without a row computes the first row with weight 0,
    because the other processes wait for its gradients.

    Args:
        batch: number of rows.

    Returns:
        Rows and weight.
    """
    count, rank = distributed.world_size(), distributed.rank()
    if count == 1:
        return ALL_ROWS, 1.0
    return (slice(rank, None, count), 1.0) if rank < batch else (slice(0, 1), 0.0)


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum `values` over all processes in place and return them."""
    if distributed.world_size() > 1:
        dist.all_reduce(values)
    return values


class _SumWithGradient(torch.autograd.Function):
    """Sum over processes. In the backward pass, the gradients are also summed over processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total


def sum_with_gradient(values: Tensor) -> Tensor:
    """Sum `values` over all processes, for a term of the loss that is not a sum over images.

    All processes must call the function equally often. Gradients are those of the sum of the losses of all processes.

    Args:
        values: tensor of any shape. The shape must be the same in all processes.

    Returns:
        The sums.
    """
    if distributed.world_size() == 1:
        return values
    total: Tensor = _SumWithGradient.apply(values)
    return total


@torch.no_grad()
def broadcast_state(module: nn.Module) -> None:
    """Copy the state of the main process to all processes. Their earlier computations may be rounded differently."""
    if distributed.world_size() == 1:
        return
    state = module.state_dict()
    for value in state.values():
        buffer = value.contiguous()
        dist.broadcast(buffer, 0)
        value.copy_(buffer)
    module.load_state_dict(state)  # runs the hooks of modules with values derived from their state


def check_same_step(step: int, device: torch.device) -> None:
    """Check that all processes are at the same step, because all must read the same checkpoint.

    Args:
        step: step of this process.
        device: torch device for communication.

    Raises:
        RuntimeError: a process is at another step.
    """
    if distributed.world_size() == 1:
        return
    extremes = torch.tensor([step, -step], device=device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    if (most := int(extremes[0])) != (least := -int(extremes[1])):
        raise RuntimeError(
            f"processes are at different steps, {least} to {most}. Use an output folder that all processes share"
        )


def has_unused_parameters(network: nn.Module, inputs: Tensor, penalty: Callable[[], Tensor] | None) -> bool:
    """Check for trained parameters that the loss does not depend on.

    Distributed training must not wait for the gradients of these parameters.

    Args:
        network: network, which is switched to eval mode so that no random numbers are consumed.
        inputs: a small batch of inputs.
        penalty: as in `TrainerConfig`.

    Returns:
        True if there are such parameters.
    """
    network.eval()
    total = network(inputs).float().sum() + (penalty() if penalty else 0)
    trained = [p for p in network.parameters() if p.requires_grad]
    return any(gradient is None for gradient in torch.autograd.grad(total, trained, allow_unused=True))
