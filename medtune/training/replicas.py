"""One batch over several processes: which rows are whose, and what all of them must have alike.

With one process every row is its own, and nothing is sent.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medtune.runtime import distributed

ALL_ROWS = slice(None)


def local_slice(batch: int) -> tuple[slice, float]:
    """Rows of a batch of `batch` that this process computes, and what their loss counts.

    A process without a row computes the first, at no weight: the others wait for its gradients.
    """
    count, rank = distributed.world_size(), distributed.rank()
    if count == 1:
        return ALL_ROWS, 1.0
    return (slice(rank, None, count), 1.0) if rank < batch else (slice(0, 1), 0.0)


def sum_over_processes(values: Tensor) -> Tensor:
    """`values` summed over the processes, in place."""
    if distributed.world_size() > 1:
        dist.all_reduce(values)
    return values


@torch.no_grad()
def broadcast_state(module: nn.Module) -> None:
    """Gives `module` the first process's state: what was computed before training may differ in its last digits."""
    if distributed.world_size() == 1:
        return
    state = module.state_dict()
    for value in state.values():
        sent = value.contiguous()
        dist.broadcast(sent, 0)
        value.copy_(sent)
    module.load_state_dict(state)  # modules that derive something from their state are told


def check_same_step(step: int, device: torch.device) -> None:
    """Raises a RuntimeError where a process stands at another step: it did not find the first one's checkpoint."""
    if distributed.world_size() == 1:
        return
    extremes = torch.tensor([step, -step], device=device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    if (most := int(extremes[0])) != (least := -int(extremes[1])):
        raise RuntimeError(f"processes stand at steps {least} to {most}: the output folder must be one for all of them")


def has_unused_parameters(network: nn.Module, inputs: Tensor, penalty: Callable[[], Tensor] | None) -> bool:
    """Whether a trained parameter has no part in the loss, so that its gradient must not be waited for.

    Args:
        network: put in eval mode, so that no random number is drawn.
        inputs: a few rows of its input.
        penalty: as in `TrainerConfig`.
    """
    network.eval()
    total = network(inputs).float().sum() + (penalty() if penalty else 0)
    trained = [p for p in network.parameters() if p.requires_grad]
    return any(gradient is None for gradient in torch.autograd.grad(total, trained, allow_unused=True))
