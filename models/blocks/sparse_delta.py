"""Sparse updates: selected entries of many tensors, trained as one vector."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class SparseDelta(nn.Module):
    """Trained updates of `count` entries of tensors with `sizes` entries. Entries are numbered across all tensors.

    Attributes:
        values: trained updates (count,), initially zero.
        positions: (count,) numbers of the selected entries, ascending; evenly spaced before `select_entries`.
    """

    positions: Tensor

    def __init__(self, sizes: Sequence[int], count: int) -> None:
        super().__init__()
        total = sum(sizes)
        self.starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
        self.values = nn.Parameter(torch.zeros(count))
        self.register_buffer("positions", torch.arange(count) * total // count)
        self.register_load_state_dict_post_hook(lambda module, _: module._update_spans())
        self._update_spans()

    def select_entries(self, scores: Tensor) -> None:
        """Select the entries with the largest `scores`, one per entry of all tensors (total,)."""
        self.positions.copy_(scores.topk(len(self.positions)).indices.sort().values)
        self._update_spans()

    def _update_spans(self) -> None:
        """Find the range of `positions` of each tensor once. A search in every step would wait for the device."""
        bounds = torch.searchsorted(self.positions, torch.tensor(self.starts, device=self.positions.device)).tolist()
        self.spans = list(pairwise(bounds))

    def apply_to(self, tensor: Tensor, index: int) -> Tensor:
        """Return tensor number `index` with its selected entries updated, in the same shape."""
        first, last = self.spans[index]
        if first == last:
            return tensor
        positions = self.positions[first:last] - self.starts[index]
        return tensor.flatten().index_add(0, positions, self.values[first:last]).reshape(tensor.shape)


class SparseEntry(nn.Module):
    """Update of tensor number `index` by the `SparseDelta` that all tensors of a network share."""

    def __init__(self, delta: SparseDelta, index: int) -> None:
        super().__init__()
        self.__dict__["delta"] = delta  # not as a submodule, so that a state dict contains it only once
        self.index = index

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the updated tensor in the same shape."""
        return self.delta.apply_to(tensor, self.index)
