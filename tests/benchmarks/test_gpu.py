"""GPU benchmark with a tiny network on the CPU, where the times are not meaningful."""

import os
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu, gpu_inference, gpu_training
from benchmarks.inference_model import InferenceModel
from benchmarks.roofline import INFERENCE, TRAINING, Roofline, flops, product_rate
from benchmarks.synthetic_images import benchmark_params, prepare
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
    return benchmark_params(None, TINY, {"schedule": "full"})


@pytest.fixture
def roofline(params):
    """Return 1 MFLOP per image at 1 GFLOP/s: 1,000 images/s, or a third of it with the backward pass."""
    return Roofline(params.model.backbone, "a CPU", 1e6, 1e9)


@pytest.fixture
def eager(monkeypatch):
    """Compile with the eager backend, which starts faster."""
    compile_network = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda network, **options: compile_network(network, backend="eager", **options)
    )


def test_flops__equal_a_manual_count_for_a_vit(params):
    with torch.device("meta"):
        network = classifier.build(params, 2, load_weights=False)
    tokens, channels, hidden, depth = 4 + 1, 64, 3 * 64, 6
    block = channels * 3 * channels + channels * channels + 2 * channels * hidden + 2 * tokens * channels
    expected = 2 * (4 * 3 * 16 * 16 * channels + depth * tokens * block + 2 * channels)
    assert flops(network, SIZE) == expected


def test_product_rate__is_plausible():
    rate = product_rate(torch.device("cpu"), side=64, rounds=2)
    assert 1e6 < rate < 1e16


def test_roofline__is_the_higher_of_measured_and_specified_rate():
    measured = Roofline("vit_base_patch16_224", "NVIDIA A100", 35e9, 280e12)
    assert measured.images_per_second(INFERENCE) == pytest.approx(8000)
    assert measured.percent(2000, INFERENCE) == pytest.approx(25)
    assert measured.percent(2000, TRAINING) == pytest.approx(75)
    specified = Roofline("vit_base_patch16_224", "NVIDIA H200", 35e9, 700e12)
    assert specified.images_per_second(INFERENCE) == 22_400
    assert specified.percent(3745, TRAINING) == pytest.approx(50)
    assert specified.note(INFERENCE) == (
        "NVIDIA H200; roofline 20,000 images/s: 35 GFLOP per image at 700 TFLOP/s, measured; specified 22,400"
    )


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("device", DEVICES)
def test_training__two_rows_per_variant(params, roofline, tmp_path, eager, device, monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", device)
    prepared = prepare(params, tmp_path)[1]
    variants = [gpu_training.BASELINE, "eager bf16", gpu_training.COMPILED]
    rows = gpu_training.measure(
        params, prepared, roofline, torch.device(device), tmp_path / "work", variants, runs=1, intervals=1
    )
    assert [row.measurement for row in rows[::2]] == [
        f"test_vit at 32 px, training, batch 2: {variant}" for variant in variants
    ]
    for speed, percent in zip(rows[::2], rows[1::2], strict=True):
        assert speed.value > 0
        assert percent.value == pytest.approx(100 * speed.value / (1000 / 3))
        assert percent.at_least is None  # targets apply to practical networks
    assert rows[0].ratio is None
    assert rows[2].ratio == pytest.approx(rows[2].value / rows[0].value)
    assert rows[2].reference == "eager fp32"


def test_training__failure_is_a_row_without_a_value(params, roofline, tmp_path, monkeypatch):
    def fail(network, **options):
        raise RuntimeError("no compiler\nin sight")

    monkeypatch.setattr(torch, "compile", fail)
    prepared = prepare(params, tmp_path)[1]
    rows = gpu_training.measure(
        params, prepared, roofline, torch.device("cpu"), tmp_path / "work", [gpu_training.COMPILED], runs=2
    )
    assert [(row.value, row.note) for row in rows] == [(None, "no compiler")] * 2


def test_variants_for__channels_last_only_for_cnns():
    assert gpu_training.CHANNELS_LAST not in gpu_training.variants_for("vit_base_patch16_224")
    assert gpu_training.CHANNELS_LAST in gpu_training.variants_for("convnext_base")


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("device", DEVICES)
def test_inference__inactive_provider_has_no_value(params, roofline, eager, device):
    model = InferenceModel(classifier.build(params, 2), 1.0)
    rows = gpu_inference.measure(
        model, "test_vit", SIZE, roofline, torch.device(device), [1, 64], ["cpu", "tensorrt"], rounds=1
    )
    by_name = {row.measurement.removeprefix("test_vit at 32 px, inference, batch "): row for row in rows}
    variants = [gpu_inference.EAGER, gpu_inference.COMPILED, "onnx fp16, cpu", "onnx fp16, tensorrt"]
    assert list(by_name) == [f"1: {variant}" for variant in variants] + [
        f"64: {variant}{part}" for variant in variants for part in ("", ", percentage of the roofline")
    ]
    for name, row in by_name.items():
        if "tensorrt" in name:
            assert row.value is None
            assert row.note.startswith("provider tensorrt") or "cannot be loaded" in row.note
        else:
            assert row.value > 0
    graph, percent = by_name["64: onnx fp16, cpu"], by_name["64: onnx fp16, cpu, percentage of the roofline"]
    assert (graph.target, percent.target) == (">= 1x", ">= 50 %")
    assert graph.ratio == pytest.approx(graph.value / graph.reference_value)
    assert graph.reference_value == by_name["64: torch.compile bf16"].value
    assert percent.value == pytest.approx(100 * graph.value / 1000)
    assert "by CPUExecutionProvider" in graph.note
    single = by_name["1: onnx fp16, cpu"]
    assert (single.unit, single.target) == ("ms", "")
    assert single.ratio == pytest.approx(single.reference_value / single.value)
    assert by_name["64: torch.compile bf16, percentage of the roofline"].target == ""


def test_run__without_a_gpu_prints_one_line_and_imports_no_heavy_package():
    command = [sys.executable, "-X", "importtime", "-m", "benchmarks.gpu"]
    environment = {**os.environ, "MEDTUNE_DEVICE": "cpu"}
    process = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert process.returncode == 2
    assert (
        process.stderr.splitlines()[-1]
        == "error: benchmarks.gpu: no CUDA device found. Run it on a machine with a GPU."
    )
    imported = {
        line.rpartition("|")[2].strip() for line in process.stderr.splitlines() if line.startswith("import time")
    }
    assert "typer" in imported
    assert not {"torch", "numpy", "onnxruntime"} & imported


def test_run__gpu_that_torch_cannot_use_is_an_error(monkeypatch):
    monkeypatch.setenv("MEDTUNE_DEVICE", "cuda")
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is present")
    with pytest.raises(InputError, match="no CUDA device found"):
        gpu.run()


@pytest.mark.parametrize("batch", ["1,x", "0", ""])
def test_run__rejects_invalid_batch_sizes(batch):
    with pytest.raises(InputError, match="--batch"):
        gpu.run(batch=batch)
