"""Backbones, methods, weights and settings that do not fit together, and runs that fail."""

import pickle
from collections.abc import Iterator
from pathlib import Path

from medtune.config import registry
from medtune.config.project import PACKAGE
from tests.robustness.mistakes.mistake import Mistake, mistakes

SMALL = ("--params", "small.yaml")
NO_WEIGHTS = "model.weights=none"
# The trial step is finite. With this learning rate, weight decay multiplies the weights by -9 per step.
DIVERGES = {"lr": 100, "weight_decay": 0.1, "clip_norm": "null", "epochs": 30}
CNN = ("model.backbone=test_efficientnet", "model.backbone_args={}")
DEIT = ("model.backbone=deit_tiny_patch16_224", "model.backbone_args={}", NO_WEIGHTS)
RESNET = ("model.backbone=test_resnet", "model.backbone_args={}", NO_WEIGHTS)
BACKBONES = {"mobilenet": CNN, "vit": (), "resnet": RESNET}


def networks(_: Path) -> Iterator[Mistake]:
    """Yield networks that are refused before the images are decoded."""
    yield from mistakes("data", {
        ("model.backbone=resnet5O", NO_WEIGHTS): ("model.backbone=resnet5O", "did you mean"),
        ("model.backbone=nonesuch", NO_WEIGHTS): "model.backbone=nonesuch: ",
        ("model.backbone=resnet18.nonesuch", NO_WEIGHTS): ("resnet18", "'nonesuch'", "its tags"),
        ("model.backbone=resnet18", "model.weights=bundled"): ("model.weights=bundled", "resnet18"),
        ("model.backbone=densenet264d", "model.weights=hub"): ("hub", "densenet264d"),
        DEIT: ("data.image_size=32", "requires 224"),
        ("data.image_size=8", "model.backbone_args={img_size: 8}", NO_WEIGHTS): ("data.image_size", "8"),
        "model.backbone_args={img_sise: 32}": ("backbone_args", "img_sise"),
        ("model.backbone_args={img_size: big}", NO_WEIGHTS): ("backbone_args", "test_vit"),
        ("model.backbone_args={img_size: 32, embed_dim: 7}", NO_WEIGHTS): ("model.backbone", "test_vit"),
        "model.head.tokens=7": ("model.head.tokens=7", "test_vit"),
        (*CNN, "finetune.gradient_checkpointing=true", "model.batchnorm=train"):
            ("gradient_checkpointing", "batchnorm"),
    }, *SMALL, sets=True)  # fmt: skip
    for method in registry.plugin_names("medtune.models.peft"):
        plugin = registry.load_plugin("medtune.models.peft", method, "model.peft.method")
        families = getattr(plugin, "SUPPORTED_FAMILIES", None) or BACKBONES
        for family in BACKBONES.keys() - families:
            row = {(*BACKBONES[family], f"model.peft.method={method}"): (f"method={method}", "does not support")}
            yield from mistakes("data", row, *SMALL, sets=True)


def settings(folder: Path) -> Iterator[Mistake]:
    """Yield settings that do not fit the prepared data, the device or the launcher, and invalid weights."""
    train = ("--no-prefect", *SMALL)
    yield from mistakes("train", {
        "data.patients=16": ("other data params", "medtune data"),
        "data.image_size=48": ("other data params", "medtune data"),
        "data.labels=binary": ("other data params", "medtune data"),
        "frozen.class_weights={tumor: 2}": ("frozen.class_weights", "'tumor'", "glands"),
        "finetune.class_weights={tumor: 2}": ("finetune.class_weights", "'tumor'", "glands"),
        "frozen.precision=fp16": ("frozen.precision=fp16", "GPU"),
        "finetune.precision=fp16": ("finetune.precision=fp16", "GPU"),
    }, *train, sets=True)  # fmt: skip
    for command, key, previous in (
        ("stage finetune", "frozen.lr=0.5", "stage frozen"),
        ("evaluate", "finetune.lr=0.5", "stage finetune"),
        ("export", "evaluate.reliability_bins=9", "evaluate"),
    ):
        yield from mistakes(command, {key: f"Run `medtune {previous}` with the same params first"}, *SMALL, sets=True)
    for stage in ("frozen", "finetune"):
        yield from mistakes(f"stage {stage}", {("--fold", "9"): ("--fold=9: no such fold", "0 to 2")}, *SMALL)
    for command in ("data", "stage frozen", "stage finetune", "evaluate", "export"):
        yield from mistakes(command, {"seed=-1": "seed=-1"}, *SMALL, sets=True)
    yield Mistake("train", train, ("WORLD_SIZE=2",), environment={"WORLD_SIZE": "2"})
    launcher = {"MASTER_ADDR": "x", "ACCELERATE_USE_CPU": "true"}
    yield Mistake("stage frozen", SMALL, ("accelerate launch",), environment=launcher)
    for device in ("banana", "cuda", "cuda:x"):
        retrain = (*train, "--set", "frozen.epochs=3")
        yield Mistake("train", retrain, ("MEDTUNE_DEVICE", device), environment={"MEDTUNE_DEVICE": device})
    for name, expected in write_weights(folder).items():
        row = {f"model.weights={folder / name}": ("model.weights", name, *expected)}
        yield from mistakes("train", row, *train, sets=True)


def write_weights(folder: Path) -> dict[str, tuple[str, ...]]:
    """Write invalid files of weights and return the expected texts by name."""
    import torch
    from safetensors.torch import load_file, save

    source = PACKAGE / "models" / "bundled" / "test_vit.safetensors"
    right, other = load_file(source), {"conv.weight": torch.zeros(2, 3)}
    key = next(name for name, tensor in right.items() if tensor.dim() == 2)
    contents = {
        "other": save(other),
        "narrow": save(right | {key: right[key][:1].clone()}),
        "incomplete": save({name: tensor for name, tensor in right.items() if name != key}),
        "extra": save(right | {"more.weight": torch.zeros(1)}),
        "nan": save(right | {key: right[key] * float("nan")}),
        "truncated": source.read_bytes()[: source.stat().st_size // 2],
        "text": b"no tensors",
        "empty": b"",
    }
    for name, content in contents.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    for name, value in {"other": other, "list": [1, 2], "numbers": {"state_dict": {"a": 1}}}.items():
        torch.save(value, folder / f"{name}.pth")
    for name, content in {"text.pth": b"no tensors", "empty.pth": b"", "weights.onnx": b"x"}.items():
        (folder / name).write_bytes(content)
    (folder / "code.pth").write_bytes(pickle.dumps({"a": print}))
    (folder / "folder.pth").mkdir()
    unreadable = ("cannot be read as plain tensors",)
    names = ("text.safetensors", "text.pth", "empty.safetensors", "empty.pth", "code.pth", "truncated.safetensors")
    return {
        **dict.fromkeys(names, unreadable),
        "absent.safetensors": ("no such file",),
        "folder.pth": ("no such file",),
        "weights.onnx": ("not a weights file",),
        "other.safetensors": ("does not fit", "keys differ"),
        "other.pth": ("does not fit", "keys differ"),
        "narrow.safetensors": ("does not fit", key),
        "incomplete.safetensors": ("does not fit", f"1 missing: {key}"),
        "extra.safetensors": ("does not fit", "1 unexpected: more.weight"),
        "list.pth": ("no state dict",),
        "numbers.pth": ("no state dict",),
        "nan.safetensors": ("NaN", key),
    }


def runs(_: Path) -> Iterator[Mistake]:
    """Yield training that diverges after the trial step, and mistakes of all kinds in new processes."""
    for stage in ("frozen", "finetune"):
        assignments = tuple(f"{stage}.{key}={value}" for key, value in DIVERGES.items())
        diverges = {assignments: (f"{stage} fold 0", "the loss is", ".lr below ")}
        yield from mistakes("train", diverges, "--no-prefect", *SMALL, sets=True, code=1)
        yield from mistakes(f"stage {stage}", diverges, *SMALL, sets=True, code=1)
        yield from mistakes("train", diverges, *SMALL, sets=True, code=1, in_process=False)
    for command, invalid, expected in (
        ("train", "frozen.epoch=3", ("frozen.epoch", "'epochs'")),
        ("stage finetune", "model.peft.method=lorra", "=lorra"),
        ("train", ("model.backbone=nonesuch", NO_WEIGHTS), "nonesuch"),
        ("train", DEIT, ("data.image_size=32", "224")),
        ("train", "data.image_size=48", "other data params"),
        ("stage frozen", "frozen.class_weights={x: 1}", "'x'"),
    ):
        yield from mistakes(command, {invalid: expected}, *SMALL, sets=True, in_process=False)
    yield from mistakes("predict", {("/nonesuch", "/nonesuch"): "/nonesuch"}, in_process=False)
    yield from mistakes("benchmark", {"benchmark.seeds=[-1]": "benchmark.seeds"}, sets=True, in_process=False)
    yield from mistakes("remote", {"nonesuch://x/y": "nonesuch"}, in_process=False)
