"""Export of volume networks: the graph equals the networks, and the parity check notices differences."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.export.ensemble import Member
from medtune.export.onnx_graph import to_onnx
from medtune.export.precisions import FILES, PrecisionExporter, predictor, session
from medtune.export.volume_export import VolumeExport
from medtune.models.slice_network import SliceNetwork
from medtune.tasks.segmentation import export as task
from tests.volume_world import write_prepared_volumes

PATCH = (16, 16, 16)


class Threshold(nn.Module):
    """Network whose labels follow the intensity and its neighborhood, so that all of them occur."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.smooth = nn.Conv3d(1, 4, 3, padding=1)
        with torch.no_grad():
            self.smooth.weight.fill_(1 / 27)
            self.smooth.bias.copy_(torch.tensor([0.0, -0.4 + shift, -0.9, -1.4]))
        self.output = nn.Conv3d(4, 4, 1)
        with torch.no_grad():
            self.output.weight.copy_(6 * torch.tril(torch.ones(4, 4))[..., None, None, None])
            self.output.bias.zero_()

    def forward(self, windows):
        steps = self.smooth(windows)
        return self.output(steps)


@pytest.fixture
def world(tmp_path):
    """Return params, prepared phantoms and a function that exports networks."""
    params = validate({
        "task": {"kind": "segmentation"},
        "schedule": "frozen",
        "data": {"source": "phantom", "patients": 9, "size": 20, "split": {"folds": 3, "test_fold": "all"}},
        "model": {"backbone": "none", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "none"}},
        "gate": {"metric": "dice"},
        "frozen": {"monitor": "dice"},
        "finetune": {"monitor": "dice"},
        "export": {"batch_sizes": [1, 3], "parity_images": 12},
        "tracking": {"mode": "disabled"},
    })  # fmt: skip
    write_prepared_volumes(tmp_path / "prepared", params)
    prepared = load_prepared(tmp_path / "prepared")
    assert len(prepared.classes) == 3
    return SimpleNamespace(params=params, prepared=prepared, parts=VolumeExport(params, prepared), folder=tmp_path)


def build(world, networks):
    """Return the document, the module and the graph of networks."""
    decision = {"kind": "post_processing", "largest": [1], "min_volume_mm3": 0.0, "evidence": {}}
    folds = list(range(len(networks)))
    document = {
        "task": world.params.section("task"),
        "schema_version": 2,
        **task.describe(world.prepared, [{}], decision, 0),
        **world.parts.fields(folds, decision),
        "members": [{"fold": fold} for fold in folds],
        "precisions": {},
        "parity": {},
    }
    model = world.parts.combine([Member(network.eval(), task.output_layer({})) for network in networks], document)
    graph = to_onnx(model, world.parts.source, 20, {}, model.names)
    return document, model, graph


def test_fields__describe_the_input_and_the_training_volumes(world):
    fields = world.parts.fields([0], {"kind": "post_processing", "largest": [1], "min_volume_mm3": 0.0, "evidence": {}})
    assert fields["input"]["shape"] == ["N", 1, *PATCH]
    volumes = fields["volumes"]
    assert volumes["patch"] == list(PATCH)
    assert volumes["overlap"] == 0.5
    assert volumes["post_processing"] == {"largest": [1], "min_volume_mm3": 0.0}
    rows = world.prepared.indices(0)["train"]
    spacing = np.array([world.prepared.volumes.entries[row].spacing for row in rows])
    limits = np.stack([spacing.min(axis=0), spacing.max(axis=0)], axis=1)
    np.testing.assert_allclose(volumes["training_range"]["spacing"], limits)


def test_export__windows_and_volumes_agree_with_the_networks(world):
    document, model, graph = build(world, [Threshold(0.0), Threshold(0.1)])
    check = world.parts.check(model, [0, 1, 2], document)
    assert check.images.shape[1:] == (1, *PATCH)
    assert len(check.images) == 12
    assert set(np.unique(check.masks)) == {0, 1, 2, 3}
    assert len(check.rows) == 4
    assert all(len(np.unique(labels)) > 1 for labels in check.labels)
    exporter = PrecisionExporter(graph, check, lambda: world.parts.calibration([0]), world.params.export)
    for precision in ("fp32", "fp16", "int8"):
        exporter.export(world.folder, document, precision)
    fp32, fp16 = document["parity"]["fp32"], document["parity"]["fp16"]
    assert document["precisions"]["fp32"]["shipped"]
    assert fp32["max_abs_diff"] <= 1e-5
    assert set(fp32["max_abs_diff_by_batch_size"]) == {"1", "3"}
    assert fp32["windows"] == 12
    assert fp32["volumes"]["label_agreement_min"] >= 0.999
    assert fp32["volumes"]["volumes"] == 4
    assert fp16["max_abs_diff"] > fp32["max_abs_diff"]
    assert fp16["volumes"]["dice"] == pytest.approx(fp32["volumes"]["dice"], abs=0.01)
    assert document["precisions"]["int8"]["reason"] == (
        "int8 is not supported for volumes. Remove it from export.precisions"
    )
    bundle = world.parts.open(world.folder, document, session((world.folder / FILES["fp32"]).read_bytes()))
    row = check.rows[0]
    windows = check.images[:2]
    np.testing.assert_allclose(bundle.run(windows), check.reference[:2, 0], atol=1e-5)
    np.testing.assert_allclose(bundle.run_member(windows, 1), check.reference[:2, 2], atol=1e-5)
    assert check.samples(4).shape == (1, 1, *PATCH)
    assert check.labels[0].shape == tuple(world.prepared.volumes.entries[row].original_shape)


def test_export__a_different_graph_is_rejected(world):
    document, model, _ = build(world, [Threshold(0.0)])
    _, _, other = build(world, [Threshold(0.3)])
    check = world.parts.check(model, [0], document)
    metrics, reason = check.evaluate(predictor(other.SerializeToString()), "fp32", world.params.export)
    assert reason.startswith("outputs differ by up to")
    assert "volumes" not in metrics
    metrics, reason = check.evaluate(predictor(other.SerializeToString()), "fp16", world.params.export)
    drop = metrics["volumes"]["dice_reference"] - metrics["volumes"]["dice"]
    assert (reason is not None) == (drop > 0.001)
    broken = lambda windows: np.full_like(predictor(other.SerializeToString())(windows), np.nan)  # noqa: E731
    assert "NaN" in check.evaluate(broken, "fp16", world.params.export)[1]


@pytest.mark.parametrize("axis", [0, 2])
def test_to_onnx__decoder_without_a_backbone_equals_the_network(axis):
    torch.manual_seed(0)
    network = SliceNetwork(None, 1, 3, PATCH, slice_axis=axis).eval()
    compare(network, PATCH)


def compare(network, patch, channels=1):
    """Compare a network with its graph for two batch sizes."""
    from medtune.export import graph_input
    from medtune.export.volume_ensemble import VolumeEnsemble

    model = VolumeEnsemble([Member(network, task.output_layer({}))], "probabilities")
    predict = predictor(to_onnx(model, graph_input.windows(channels, patch), 20, {}, model.names).SerializeToString())
    for count in (1, 3):
        windows = np.random.default_rng(count).normal(size=(count, channels, *patch)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(windows)).softmax(1).numpy()
        assert expected.min() < 0.9 * expected.max()
        assert np.abs(predict(windows)[:, 0] - expected).max() < 1e-4
