"""`python -m benchmarks.gpu`: measure training and inference on a CUDA device, relative to the roofline.

The roofline is the throughput at which a network would reach the rate of large matrix products. Weights are random,
because they do not affect the time. Training uses the training loop of MedTune on a small synthetic data set. Inference
uses the session of the exported bundle. Both measurements include all copies to and from the device.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.results import Row, Save, finish
from medtune.cli import program
from medtune.config.errors import InputError
from medtune.runtime.device import device_class

if TYPE_CHECKING:
    import torch

BACKBONES = "vit_base_patch16_224,convnext_base"


def measure(
    backbone: str,
    device: "torch.device",
    rate: float,
    batches: list[int],
    train_batch: int,
    rounds: int = 9,
) -> list[Row]:
    """Measure training and inference of one backbone at 224 pixels.

    Args:
        backbone: timm name.
        device: a CUDA device.
        rate: measured operations per second of large bf16 matrix products, for the roofline.
        batches: batch sizes of inference.
        train_batch: batch size of training.
        rounds: interleaved rounds of inference.

    Returns:
        Rows of training, then of inference.
    """
    import torch

    from benchmarks import gpu_inference, gpu_training
    from benchmarks.inference_model import InferenceModel
    from benchmarks.roofline import Roofline, flops
    from benchmarks.synthetic_images import backbone_overrides, benchmark_params, prepare
    from medtune.models import classifier

    settings = {"schedule": "full", "model": {"head": {"kind": "linear"}}, "finetune": {"batch_size": train_batch}}
    params = benchmark_params(None, backbone_overrides(backbone), settings)
    with TemporaryDirectory(prefix="medtune-") as temporary:
        folder = Path(temporary)
        prepared = prepare(params, folder)[1]
        classes, size = len(prepared.classes), params.data.image_size
        with torch.device("meta"):
            operations = flops(classifier.build(params, classes, load_weights=False), size)
        roofline = Roofline(backbone, torch.cuda.get_device_name(device), operations, rate)
        variants = gpu_training.variants_for(backbone)
        rows = gpu_training.measure(params, prepared, roofline, device, folder / "work", variants)
    model = InferenceModel(classifier.build(params, classes), 1.0)
    return rows + gpu_inference.measure(model, backbone, size, roofline, device, batches, rounds=rounds)


def run(
    backbone: Annotated[str, typer.Option(help="timm names, separated by commas.")] = BACKBONES,
    batch: Annotated[str, typer.Option(help="Batch sizes of inference, separated by commas.")] = "1,64,256",
    train_batch: Annotated[int, typer.Option(min=1, help="Batch size of training.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds of inference; medians are reported.")] = 9,
    save: Save = False,
) -> None:
    """Measure training and inference on a GPU, relative to torch and to the highest possible throughput."""
    if not all(text.isdecimal() and int(text) for text in batch.split(",")):
        raise InputError(f"--batch {batch!r}: use numbers of images such as 1,64,256")
    batches = [int(text) for text in batch.split(",")]
    device = _cuda_device()
    from benchmarks.roofline import product_rate

    rate = product_rate(device)
    all_rows: list[Row] = []
    for name in backbone.split(","):
        rows = measure(name, device, rate, batches, train_batch, rounds)
        finish("gpu", rows, save=False)  # prints now, because the next network may fail
        all_rows += rows
    finish("gpu", all_rows, save, show=False)


def _cuda_device() -> "torch.device":
    """Return the CUDA device. Raise InputError before heavy imports if there is no device."""
    if device_class() == "cuda":
        import torch

        from medtune.runtime.device import device_name

        if torch.cuda.is_available():
            return torch.device(device_name())
    raise InputError("benchmarks.gpu: no CUDA device found. Run it on a machine with a GPU.")


if __name__ == "__main__":
    program.run(run)
