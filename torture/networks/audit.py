"""What a stage holds still: networks caught as the stages make them, and compared bit for bit afterwards."""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any
from unittest import mock


def bits(module: Any) -> dict[str, str]:
    """sha256 of every parameter and buffer by name, those included that no checkpoint holds."""
    import torch

    found = {}
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        content = value.detach().cpu().contiguous().reshape(-1)
        data = content.view(torch.uint8).numpy().tobytes() if content.numel() else b""
        found[name] = hashlib.sha256(f"{value.dtype} {tuple(value.shape)} ".encode() + data).hexdigest()
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> str | None:
    """The first names that are other than they were, or gone; None where all is as it was."""
    names = [name for name, sha256 in before.items() if after.get(name) != sha256]
    return f"{len(names)} of {len(before)} tensors changed: {', '.join(names[:3])}" if names else None


@contextlib.contextmanager
def built() -> Iterator[list[tuple[Any, dict[str, str], dict[str, str]]]]:
    """Every network that is built in the meantime, with the bits of its backbone and of its head at that time."""
    from medtune.tasks.classification import training

    real, found = training.build, []

    def build(*args: Any, **kwargs: Any) -> Any:
        network = real(*args, **kwargs)
        found.append((network, bits(network.backbone), bits(network.head)))
        return network

    with mock.patch.object(training, "build", build):
        yield found


@contextlib.contextmanager
def adapted() -> Iterator[dict[str, dict[str, str]]]:
    """What stage 2 does to a network: `held`, the bits of what a method leaves frozen, and `then`, those at the end.

    Frozen is every parameter that is not trained, and every buffer once the method is prepared; where it remembers
    things from step to step, of the buffers only those that the plain network had.
    """
    from medtune.models import adapt

    real, real_prepare, real_merge = adapt.adapt, adapt.prepare, adapt.merge
    found: dict[str, dict[str, str]] = {}
    own: set[int] = set()

    def watched(model: Any, params: Any) -> Any:
        own.update(id(value) for value in model.buffers())
        model = real(model, params)
        now = bits(model)
        found["held"] = {name: now[name] for name, value in model.named_parameters() if not value.requires_grad}
        return model

    def prepared(model: Any, batches: Any, params: Any) -> None:
        real_prepare(model, batches, params)
        now, remembers = bits(model), adapt.after_step(model, params) is not None
        kept = [name for name, value in model.named_buffers() if not remembers or id(value) in own]
        found["held"] |= {name: now[name] for name in kept}

    def merged(model: Any, params: Any) -> bool:
        found["then"] = bits(model)
        return real_merge(model, params)

    with contextlib.ExitStack() as patches:
        for name, seen in (("adapt", watched), ("prepare", prepared), ("merge", merged)):
            patches.enter_context(mock.patch.object(adapt, name, seen))
        yield found
