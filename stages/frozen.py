"""Stage 1: the backbone frozen and in eval mode, the head trained on its features."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from config import cli, load, ranks
from config import key as keys
from config.artifact import Artifact
from config.schema import Params
from config.settings import Paths, device_class, device_name
from stages.finished import finished
from stages.ready import ready
from stages.together import together

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from datasets.manifest import Prepared
    from models.classifier import Classifier
    from training.feeds import Feed


def key(params: Params, prepared: "Prepared", fold: int) -> str:
    """Cache key of the chain whose test fold is `fold`."""
    inputs = {"data": prepared.digest, "roles": prepared.roles_digest(fold)}
    return keys.stage_key("frozen", params, inputs, device_class())


def run(params: Params, paths: Paths, fold: int, key: str, group: str, prepared: "Prepared | None" = None) -> Artifact:
    """The trained head of one chain, best epoch by validation; resumes where an earlier run was cut.

    Args:
        prepared: the data that `key` was made from; None: those in `paths.prepared`.

    Raises:
        RuntimeError: the loss is not finite, or the frozen backbone changed (it must not).
    """
    folder = paths.stage("frozen", fold)
    if done := finished(folder, key):
        return done
    from datasets.manifest import load_prepared
    from models import classifier
    from models.weights import state_sha256
    from training.feeds import StoredFeed
    from training.fit import Setup, fit
    from training.heap import keep_freed_memory

    keep_freed_memory()
    prepared = prepared or load_prepared(paths.prepared)
    device = device_name()
    model = classifier.build(params, len(prepared.classes)).to(device)
    model.backbone.requires_grad_(False)
    before = state_sha256(model.backbone)
    feed, network = _feed(model, prepared, params, paths, fold, device)
    stored = isinstance(feed, StoredFeed)
    _prepare(model, feed, stored, prepared.indices(fold)["train"], params.seed)

    def set_modes() -> None:
        model.eval()
        model.head.train()

    def record(best_epoch: int) -> dict[str, Any]:
        if state_sha256(model.backbone) != before:
            raise RuntimeError(f"frozen fold {fold}: the backbone changed while frozen; nothing was kept")
        return {
            "kept": "frozen",
            "trainable": sum(p.numel() for p in model.head.parameters()),
            "backbone_sha256": before,
            "stored_features": stored,
        }

    setup = Setup("frozen", network, model.head, "head", feed, set_modes, record)
    return fit(setup, params, prepared, folder, fold, key, group)


def _feed(
    model: "Classifier", prepared: "Prepared", params: Params, paths: Paths, fold: int, device: str
) -> tuple["Feed", "nn.Module"]:
    """Stored features and the head, or images and the whole network where the store is off or over its budget."""
    import torch

    from models.backbones import shape_of
    from training import features, feeds

    views, budget = params.frozen.views, params.frozen.store_gb
    if views != "online":
        shape = shape_of(model.backbone, params.data.image_size)
        tokens = shape.tokens if model.reads == "tokens" else 1
        rows = features.needed(prepared.indices(fold), views)
        wanted = features.store_bytes(rows, tokens, shape.channels) / 1e9
        if wanted <= budget:
            with ranks.first():
                store = features.compute(model, prepared, params, rows, paths.cache, device)
            return feeds.StoredFeed(store, torch.device(device)), model.head
        cli.say(
            f"frozen: {views} views need {wanted:.1f} GB, frozen.store_gb is {budget:g}: running the backbone online"
        )
    feed = feeds.ImageFeed(prepared, model, params.frozen.augment, torch.device(device))
    return feed, feeds.FrozenOnline(model)


def _prepare(model: "Classifier", feed: "Feed", stored: bool, train: "np.ndarray", seed: int) -> None:
    """Shows the features of the training images to a head that wants to see them first."""
    import torch

    if prepare := getattr(model.head, "prepare", None):
        with torch.no_grad():
            inputs = (feed.score(train[start : start + 32]) for start in range(0, len(train), 32))
            prepare((x if stored else model.features(x) for x in inputs), seed)


def main(
    fold: Annotated[int | None, typer.Option(help="Test fold of the chain; default: every chain of params.")] = None,
    params: cli.ParamsFile = None,
    sets: cli.Sets = None,
    out: cli.Out = None,
) -> None:
    """Train the head on the frozen backbone (stage 1)."""
    from models.backbones import check

    read, paths = load.load(params, sets or ()), Paths.at(out)
    with together(paths):
        with ranks.first():
            prepared = ready(read, paths, several=True)
        check(read)
        for chain in read.data.split.chains if fold is None else [fold]:
            cli.say(f"frozen fold {chain}: {run(read, paths, chain, key(read, prepared, chain), 'by-hand').path}")


if __name__ == "__main__":
    cli.run(main)
