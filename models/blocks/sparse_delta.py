"""A few entries of many tensors, trained as one vector."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class SparseDelta(nn.Module):
    """Trained changes of `count` entries among those of all tensors laid end to end.

    Attributes:
        values: (count,), zero at first.
        places: (count,) ascending positions of the entries, evenly spread until `select_entries` is called.
    """

    places: Tensor

    def __init__(self, sizes: Sequence[int], count: int) -> None:
        super().__init__()
        total = sum(sizes)
        self.starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
        self.values = nn.Parameter(torch.zeros(count))
        self.register_buffer("places", torch.arange(count) * total // count)
        self.register_load_state_dict_post_hook(lambda module, _: module._update_spans())
        self._update_spans()

    def select_entries(self, scores: Tensor) -> None:
        """Takes the entries with the largest `scores` (total,)."""
        self.places.copy_(scores.topk(len(self.places)).indices.sort().values)
        self._update_spans()

    def _update_spans(self) -> None:
        """Where each tensor's entries lie among `places`: known before a step, so that none waits for the device."""
        bounds = torch.searchsorted(self.places, torch.tensor(self.starts, device=self.places.device)).tolist()
        self.spans = list(pairwise(bounds))

    def apply_to(self, tensor: Tensor, index: int) -> Tensor:
        """Tensor number `index` with its entries changed, in its own shape."""
        first, last = self.spans[index]
        if first == last:
            return tensor
        positions = self.places[first:last] - self.starts[index]
        return tensor.flatten().index_add(0, positions, self.values[first:last]).reshape(tensor.shape)


class SparseEntry(nn.Module):
    """A tensor with the entries that the network's one `SparseDelta` has of it."""

    def __init__(self, delta: SparseDelta, index: int) -> None:
        super().__init__()
        self.__dict__["chosen"] = delta  # past nn.Module's bookkeeping: in a state dict it stands once
        self.index = index

    def forward(self, tensor: Tensor) -> Tensor:
        """Of any shape."""
        return self.chosen.apply_to(tensor, self.index)
