"""Bags of stored features, and training on slides where the mean of the tiles is not sufficient."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medtune.config.training import FrozenParams
from medtune.data.manifest import PreparedDataset
from medtune.data.slide_dataset import by_slide
from medtune.models.attention_pooling import BagModel, GatedAttentionHead
from medtune.models.classifier import mean_head
from medtune.tasks.classification.training import CrossEntropy
from medtune.training.bags import BagSource
from medtune.training.feature_store import FeatureShard, FeatureStore
from medtune.training.inputs import FeatureSource
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig

CHANNELS, SLIDES = 8, 48


def make_tiles(slides, labels):
    n = len(slides)
    rows = np.array(labels)
    return PreparedDataset(
        Path("x"), {"tiles": {}, "n_slides": len(set(slides)), "n_images": n}, ("no", "yes"),
        tuple(f"{name}#{i}" for i, name in enumerate(slides)), rows, np.array(slides), rows,
        np.full((n, 1), "train"), np.zeros((n, 1, 1, 3), np.uint8), tuple(map(str, range(n))),
        {"slide_path": tuple(slides)},
    )  # fmt: skip


def make_store(features):
    """Create a store from `features` (views, n, C)."""
    n = features.shape[1]
    return FeatureStore(n, [[FeatureShard(np.arange(n), view[:, None].astype(np.float16))] for view in features])


def make_marked_slides(seed=0):
    """Create slides of noise with a random offset per slide and one marked tile per positive slide."""
    rng = np.random.default_rng(seed)
    slides, labels, features = [], [], []
    for number in range(SLIDES):
        label, count = number % 2, int(rng.integers(30, 60))
        tiles = rng.normal(0, 1, (count, CHANNELS))
        tiles[:, 1] += rng.normal(0, 1)
        if label:
            tiles[rng.integers(count), 0] = 6.0
        slides += [f"s{number:02}"] * count
        labels += [label] * count
        features.append(tiles)
    return make_tiles(slides, labels), np.concatenate(features)[None]


def train(folder, source, network, rows, targets, interrupt_after=None, **changes):
    half = rows < np.median(rows)
    seen = []

    def on_epoch(step, values):
        seen.append(values)
        if interrupt_after is not None and len(seen) == interrupt_after:
            raise KeyboardInterrupt

    section = FrozenParams(
        **{"epochs": 12, "batch_size": 4, "lr": 1e-2, "precision": "fp32", "checkpoint_seconds": 1e6} | changes
    )
    config = TrainerConfig(
        "t", network, network, network.train, source, targets, CrossEntropy(), rows[half], rows[~half], section,
        lr=section.lr, seed=1, key="k", checkpoint_dir=folder,
        signs={"loss": -1, "auroc": 1}, score_batch_size=4, on_epoch=on_epoch,
    )  # fmt: skip
    return Trainer(config, "cpu").run()


def bag_model():
    torch.manual_seed(0)
    return BagModel(GatedAttentionHead(CHANNELS, 2, 16, norm=False))


def test_bag_source__uses_the_same_view_for_all_tiles_of_a_slide():
    prepared = make_tiles(["b", "a", "b", "c", "a", "b"], [1, 0, 1, 0, 0, 1])
    features = np.arange(12.0).reshape(2, 6, 1)
    source = BagSource(make_store(features), by_slide(prepared), torch.device("cpu"))
    bags = source.score(np.array([2, 0]))  # slides in the order of their first tiles: b, a, c
    assert bags.sizes == [1, 3]
    assert bags.features.flatten().tolist() == [3, 0, 2, 5]
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(20):
        bags, move = source.train(np.array([0, 1]), generator)
        views = move.views.tolist()
        assert bags.features.flatten().tolist() == [6 * views[0] + k for k in (0, 2, 5)] + [
            6 * views[1] + k for k in (1, 4)
        ]
        seen.add(tuple(views))
    assert len(seen) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 12), (5, 50)])
def test_training__detects_a_single_tile_that_the_mean_hides(tmp_path, batch_size, epochs):
    prepared, features = make_marked_slides()
    slides, store, device = by_slide(prepared), make_store(features), torch.device("cpu")
    rows = np.arange(SLIDES)
    state, best = train(
        tmp_path / "bags", BagSource(store, slides, device), bag_model(), rows, slides.labels,
        batch_size=batch_size, epochs=epochs,
    )  # fmt: skip
    attention = max(row["val/auroc"] for row in state.history)
    torch.manual_seed(0)
    train(
        tmp_path / "tiles", FeatureSource(store, device), head := mean_head(CHANNELS, 2, norm=False),
        np.arange(len(prepared.labels)), prepared.labels, batch_size=64, epochs=6,
    )  # fmt: skip
    with torch.no_grad():
        tiles = torch.softmax(head(torch.from_numpy(features[0]).float()), 1)[:, 1].numpy()
    means = np.array([tiles[slides.slide_index == row].mean() for row in rows])[SLIDES // 2 :]
    labels = slides.labels[SLIDES // 2 :]
    mean = np.mean(means[labels == 1][:, None] > means[labels == 0][None])
    assert attention > 0.95
    assert mean < attention - 0.15
    model = bag_model()
    model.load_state_dict(best)
    marked = [row for row in rows[SLIDES // 2 :] if slides.labels[row] == 1]
    hits = 0
    for row in marked:
        tile_features = features[0][slides.slide_index == row]
        with torch.no_grad():
            scores = model.head(torch.from_numpy(tile_features).float()[:, None])[:, -1]
        hits += int(scores.argmax()) == int(tile_features[:, 0].argmax())
    assert hits >= 0.9 * len(marked)


def test_training__resumes_to_the_same_weights(tmp_path):
    prepared, features = make_marked_slides()
    slides = by_slide(prepared)
    views = np.concatenate([features, features + 0.1])
    source = BagSource(make_store(views), slides, torch.device("cpu"))
    rows = np.arange(SLIDES)
    folder = tmp_path / "interrupted"
    _, uninterrupted = train(tmp_path / "uninterrupted", source, bag_model(), rows, slides.labels, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(folder, source, bag_model(), rows, slides.labels, epochs=4, interrupt_after=2, checkpoint_seconds=0)
    state, resumed = train(folder, source, bag_model(), rows, slides.labels, epochs=4)
    assert len(state.history) == 4
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)
