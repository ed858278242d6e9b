"""The GPU benchmark with a tiny network on the CPU, where the times mean nothing."""

import os
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu, gpu_inference, gpu_training
from benchmarks.inference_model import InferenceModel
from benchmarks.roofline import INFERENCE, TRAINING, Ceiling, flops, product_rate
from benchmarks.synthetic_images import chosen, prepare
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.models import classifier

SIZE = 32
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
    ),
]
TINY = ["data.image_size=32", "data.patients=20", "data.images_per_patient=1", "model.backbone_args={img_size: 32}",
        "model.weights=none", "model.head.kind=linear", "finetune.batch_size=2"]  # fmt: skip


@pytest.fixture(scope="module")
def params():
    return chosen(None, TINY, {"schedule": "full"})


@pytest.fixture
def ceiling(params):
    """Of 1 MFLOP an image at 1 GFLOP/s: 1,000 images a second forward, a third of it with the backward pass."""
    return Ceiling(params.model.backbone, "a CPU", 1e6, 1e9)


@pytest.fixture
def eager(monkeypatch):
    """torch.compile without what makes it slow to start: traced and called as it is."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **options: real(network, backend="eager", **options))


def test_flops__are_those_of_a_vit_by_hand(params):
    with torch.device("meta"):
        network = classifier.build(params, 2, load_weights=False)
    tokens, channels, hidden, depth = 4 + 1, 64, 3 * 64, 6
    block = channels * 3 * channels + channels * channels + 2 * channels * hidden + 2 * tokens * channels
    by_hand = 2 * (4 * 3 * 16 * 16 * channels + depth * tokens * block + 2 * channels)
    assert flops(network, SIZE) == by_hand


def test_product_rate__is_finite_and_of_this_machine():
    rate = product_rate(torch.device("cpu"), side=64, rounds=2)
    assert 1e6 < rate < 1e16


def test_ceiling__is_the_higher_of_what_was_measured_and_what_is_named():
    plain = Ceiling("vit_base_patch16_224", "NVIDIA A100", 35e9, 280e12)
    assert plain.images(INFERENCE) == pytest.approx(8000)
    assert plain.share(2000, INFERENCE) == pytest.approx(25)
    assert plain.share(2000, TRAINING) == pytest.approx(75)
    named = Ceiling("vit_base_patch16_224", "NVIDIA H200", 35e9, 700e12)
    assert named.images(INFERENCE) == 22_400
    assert named.share(3745, TRAINING) == pytest.approx(50)
    assert named.note(INFERENCE) == (
        "NVIDIA H200; ceiling 20,000 images/s: 35 GFLOP per image at 700 TFLOP/s, measured; specified 22,400"
    )


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_training__two_rows_a_way(params, ceiling, tmp_path, eager, device, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", device)
    prepared = prepare(params, tmp_path)[1]
    ways = [gpu_training.PLAIN, "eager bf16", gpu_training.COMPILED]
    rows = gpu_training.measure(
        params, prepared, ceiling, torch.device(device), tmp_path / "work", ways, turns=1, stretches=1
    )
    assert [row.what for row in rows[::2]] == [f"test_vit at 32, training, batch 2: {way}" for way in ways]
    for speed, share in zip(rows[::2], rows[1::2], strict=True):
        assert speed.value > 0
        assert share.value == pytest.approx(100 * speed.value / (1000 / 3))
        assert share.at_least is None  # targets are for networks of use
    assert rows[0].ratio is None
    assert rows[2].ratio == pytest.approx(rows[2].value / rows[0].value)
    assert rows[2].reference == "eager fp32"


def test_training__what_fails_is_a_row_without_a_figure(params, ceiling, tmp_path, monkeypatch):
    def fails(network, **options):
        raise RuntimeError("no compiler\nin sight")

    monkeypatch.setattr(torch, "compile", fails)
    prepared = prepare(params, tmp_path)[1]
    rows = gpu_training.measure(
        params, prepared, ceiling, torch.device("cpu"), tmp_path / "work", [gpu_training.COMPILED], turns=2
    )
    assert [(row.value, row.note) for row in rows] == [(None, "no compiler")] * 2


def test_ways_for__channels_last_is_for_cnns():
    assert gpu_training.INNERMOST not in gpu_training.ways_for("vit_base_patch16_224")
    assert gpu_training.INNERMOST in gpu_training.ways_for("convnext_base")


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_inference__a_provider_that_is_not_active_has_no_figure(params, ceiling, eager, device):
    model = InferenceModel(classifier.build(params, 2), 1.0)
    rows = gpu_inference.measure(
        model, "test_vit", SIZE, ceiling, torch.device(device), [1, 64], ["cpu", "tensorrt"], rounds=1
    )
    named = {row.what.removeprefix("test_vit at 32, inference, batch "): row for row in rows}
    ways = [gpu_inference.EAGER, gpu_inference.COMPILED, "onnx fp16, cpu", "onnx fp16, tensorrt"]
    assert list(named) == [f"1: {way}" for way in ways] + [
        f"64: {way}{part}" for way in ways for part in ("", ", of the ceiling")
    ]
    for what, row in named.items():
        if "tensorrt" in what:
            assert row.value is None
            assert row.note.startswith("provider tensorrt") or "cannot be loaded" in row.note
        else:
            assert row.value > 0
    graph, share = named["64: onnx fp16, cpu"], named["64: onnx fp16, cpu, of the ceiling"]
    assert (graph.target, share.target) == (">= 1x", ">= 50 %")
    assert graph.ratio == pytest.approx(graph.value / graph.reference_value)
    assert graph.reference_value == named["64: torch.compile bf16"].value
    assert share.value == pytest.approx(100 * graph.value / 1000)
    assert "by CPUExecutionProvider" in graph.note
    one = named["1: onnx fp16, cpu"]
    assert (one.unit, one.target) == ("ms", "")
    assert one.ratio == pytest.approx(one.reference_value / one.value)
    assert named["64: torch.compile bf16, of the ceiling"].target == ""


def test_run__without_a_gpu_is_one_line_and_nothing_heavy():
    words = [sys.executable, "-X", "importtime", "-m", "benchmarks.gpu"]
    environment = {**os.environ, "MEDTUNE_DEVICE": "cpu"}
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1] == "error: benchmarks.gpu: no CUDA device found. Run it on a machine with a GPU."
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "typer" in imported
    assert not {"torch", "numpy", "onnxruntime"} & imported


def test_run__a_gpu_that_torch_cannot_use(monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", "cuda")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="no CUDA device found"):
        gpu.run()


@pytest.mark.parametrize("batch", ["1,x", "0", ""])
def test_run__batches_that_are_no_numbers_are_refused(batch):
    with pytest.raises(InputError, match="--batch"):
        gpu.run(batch=batch)
