"""`python -m examples.pretraining.pretrain`: pretrain a bundled backbone on procedural textures.

The same command on the same machine writes the same bytes, because it uses one thread and a fixed seed.
"""

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from examples.pretraining.learning import CANVAS, INPUT, STD, Pretraining, accuracy, train
from examples.pretraining.textures import TEXTURES, render
from medtune.cli.program import run
from medtune.config.project import PROJECT
from medtune.runtime.artifact import atomic_write, file_sha256, write_text
from medtune.runtime.console import info
from medtune.runtime.progress import progress
from medtune.runtime.provenance import package_versions
from medtune.serving.checksum import dump_with_checksum

SOURCE = (
    "Trained from random weights on procedural textures of nature drawn by examples/pretraining/textures.py; "
    "no photograph, no medical image, no other network took part. A patch embedding starts from random Gabor filters."
)
BACKBONE_ARGS: dict[str, dict[str, Any]] = {"test_vit": {"img_size": INPUT}}


def textures(per_class: int, seed: int, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `per_class` images of each texture.

    Args:
        per_class: images of each texture.
        seed: random seed.
        part: 0 for training images, 1 for test images, which get other random numbers.

    Returns:
        Images (n, 144, 144, 3) uint8 and labels (n,).
    """
    names = list(TEXTURES)
    images = np.empty((per_class * len(names), CANVAS, CANVAS, 3), np.uint8)
    with progress("draw textures", len(images), "images") as advance:
        for row in range(len(images)):
            images[row] = render(names[row % len(names)], CANVAS, (seed, part, row))
            advance()
    return images, np.arange(len(images)) % len(names)


def pretrain(
    backbone: Annotated[str, typer.Option(help="A small timm network.")] = "test_vit",
    per_class: Annotated[int, typer.Option(help="Images of each texture.")] = 300,
    steps: int = 2600,
    batch: int = 64,
    lr: float = 2.0e-3,
    seed: int = 1,
    held_out: Annotated[int, typer.Option(help="Images of each texture for the accuracy.")] = 30,
    half: Annotated[bool, typer.Option(help="Store as 16-bit floats.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.json.")] = PROJECT / "models/bundled",
) -> None:
    """Pretrain a small backbone on procedural textures of nature, in about 15 minutes of one core."""
    import timm
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    start = time.monotonic()
    arguments = BACKBONE_ARGS.get(backbone, {})
    network = timm.create_model(backbone, pretrained=False, num_classes=0, **arguments)
    model = Pretraining(network, len(TEXTURES))
    images, labels = textures(per_class, seed, 0)
    drawn = time.monotonic()
    train(model, images, labels, steps, batch, lr, seed)
    trained = time.monotonic()
    score = accuracy(model, *textures(held_out, seed, 1))
    info(f"held-out textures: {score:.3f} accuracy over {len(TEXTURES)} classes")
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    weights = out / f"{backbone}.safetensors"
    with atomic_write(weights) as temporary:
        save_file(state, temporary)
    card = {
        "backbone": backbone,
        "backbone_args": arguments,
        "mean": [0.5] * 3,
        "std": [STD] * 3,
        "input_size": [3, INPUT, INPUT],
        "interpolation": "bicubic",
        "precision": "fp16" if half else "fp32",
        "license": "Apache-2.0",
        "source": SOURCE,
        "command": f"python -m examples.pretraining.pretrain --backbone {backbone} --per-class {per_class} "
        f"--steps {steps} --batch {batch} --lr {lr} --seed {seed} --held-out {held_out}{' --half' if half else ''}",
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": {
            "textures": list(TEXTURES),
            "images": len(images),
            "images_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
            "images_seen": steps * batch,
            "held_out_accuracy": round(score, 4),
            "seconds": {"draw": round(drawn - start), "train": round(trained - drawn)},
            "versions": package_versions("torch", "timm", "numpy", "scipy", "pillow"),
        },
        "sha256": file_sha256(weights),
    }
    write_text(out / f"{backbone}.json", dump_with_checksum(card))
    info(f"{weights.name}: {weights.stat().st_size / 1e6:.2f} MB, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    run(pretrain)
