"""Outputs of folds with a common frozen backbone: equal to separate computation, one backbone pass per image."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.layers import PatchEmbed
from torch import nn

from medtune.config import registry
from medtune.data.manifest import load_prepared
from medtune.evaluation.outputs import EXTERNAL, OutputsRequest, compute_outputs, compute_shared_outputs
from medtune.models.classifier import build
from medtune.runtime.artifact import Artifact, commit, partial_dir
from medtune.stages import evaluate
from medtune.training.checkpoint import load_trained
from medtune.training.trained_outputs import backbone_runs, compute_trained_outputs, shares_backbone

HEADS = [
    name
    for name in registry.plugin_names("medtune.models.heads")
    if not registry.load_plugin("medtune.models.heads", name, "model.head.kind").Params().reads_volumes
]


@contextmanager
def count_batches():
    """Record the batch sizes of all backbone passes, except those of `token_shape`."""
    batches = []

    def count(module, inputs):
        if isinstance(module, PatchEmbed) and torch.is_inference_mode_enabled():
            batches.append(len(inputs[0]))

    hook = nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield batches
    finally:
        hook.remove()


def load_requests(world):
    prepared = load_prepared(world.paths.prepared)
    return [OutputsRequest.for_artifact(artifact, prepared) for artifact in world.trained], prepared.images


def compute_separately(requests, images, size=7):
    return [
        compute_outputs(request, load_trained(request.trained), images, "cpu", size, lambda done: None)
        for request in requests
    ]


def assert_same(actual, expected):
    for outputs, other in zip(actual, expected, strict=True):
        assert outputs.keys() == other.keys()
        for split, values in outputs.items():
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, other[split], rtol=1e-5, atol=1e-5)


def test_frozen_folds__equal_separate_computation_and_run_the_backbone_once_per_image(make_world):
    requests, images = load_requests(make_world(head_only=True))
    done = []
    with count_batches() as batches:
        actual = list(compute_trained_outputs(requests, images, "cpu", 7, done.append))
    assert shares_backbone(requests)
    assert sum(batches) == sum(done) == backbone_runs(requests) == len(images) == 45
    assert_same(actual, compute_separately(requests, images))
    assert not np.allclose(actual[0]["val"], actual[1]["val"])


def test_fine_tuned_folds__run_the_backbone_per_fold(make_world):
    requests, images = load_requests(make_world())
    with count_batches() as batches:
        actual = list(compute_trained_outputs(requests, images, "cpu", 7, lambda done: None))
    assert not shares_backbone(requests)
    assert sum(batches) == backbone_runs(requests) == 90
    for outputs, other in zip(actual, compute_separately(requests, images), strict=True):
        assert all(np.array_equal(outputs[split], other[split]) for split in other)


def test_shares_backbone__is_false_for_one_fold_or_different_backbones(make_world, tmp_path):
    requests, _ = load_requests(make_world(head_only=True))
    assert not shares_backbone(requests[:1])
    trained = requests[1].trained
    partial_dir(tmp_path / "other").mkdir()
    other = commit(tmp_path / "other", trained.key, trained.result() | {"backbone_sha256": "0" * 64})
    assert not shares_backbone([requests[0], replace(requests[1], trained=other)])


def test_evaluate__equals_separate_computation_in_a_single_pass(make_world):
    world = make_world(head_only=True)
    with count_batches() as batches:
        done = evaluate.run(world.params, world.paths)
    assert sum(batches) == 2 * 45  # once for the outputs, once for the features of the baselines
    requests, images = load_requests(world)
    stored = np.load(done.folder / "logits.npz")
    for request, expected in zip(requests, compute_separately(requests, images), strict=True):
        for split, values in expected.items():
            logits = stored[f"fold{request.fold}_{split}_logits"]
            np.testing.assert_allclose(logits, values, rtol=1e-5, atol=1e-5)
            assert np.array_equal(stored[f"fold{request.fold}_{split}_rows"], request.indices[split])


def test_evaluate__names_the_fold_of_logits_that_are_not_finite(make_world):
    world = make_world(head_only=True, ruin=True)
    with pytest.raises(RuntimeError, match="fold 0: 15 of 15 val images have logits that are not finite"):
        evaluate.run(world.params, world.paths)


@pytest.mark.parametrize("kind", HEADS)
def test_compute_shared_outputs__supports_every_head_and_external_images(make_world, kind):
    params = make_world().params
    head = registry.load_plugin("medtune.models.heads", kind, "model.head.kind").Params()
    params = params.model_copy(update={"model": params.model.model_copy(update={"head": head})})
    models = [build(params.model_copy(update={"seed": seed}), 3) for seed in (1, 2)]
    models[1].backbone.load_state_dict(models[0].backbone.state_dict())
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (20, 32, 32, 3), np.uint8)
    order, external = draw.permutation(16), np.arange(16, 20)
    trained = Artifact("nowhere", "key", "sha")
    first = OutputsRequest(0, trained, {"val": order[:5], "test": order[5:11], EXTERNAL: external}, "key")
    second = replace(first, fold=1, indices={"val": order[5:11], "test": order[11:], EXTERNAL: external})
    requests = [first, second]
    with count_batches() as batches:
        heads = [model.head for model in models]
        actual = compute_shared_outputs(requests, models[0], heads, images, "cpu", 8, lambda done: None)
    assert sum(batches) == 20
    expected = [
        compute_outputs(request, model, images, "cpu", 8, lambda done: None)
        for request, model in zip(requests, models, strict=True)
    ]
    assert_same(actual, expected)
