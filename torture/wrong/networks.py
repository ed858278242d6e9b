"""Backbones, weights, methods and sizes that do not fit one another."""

import pickle
from collections.abc import Iterator
from pathlib import Path

from medtune.config import registry
from medtune.config.project import PACKAGE
from torture.wrong.expected_errors import Case

NONE = "model.weights=none"
CNN = ("model.backbone=test_efficientnet", "model.backbone_args={}")
RESNET = ("model.backbone=test_resnet", "model.backbone_args={}", NONE)


def shapes(small: Path) -> Iterator[Case]:
    """What is refused before images are decoded for it."""

    def asked(name: str, says: tuple[str, ...], *sets: str) -> Case:
        words = ("--params", str(small), *(word for one in sets for word in ("--set", one)))
        return Case(f"network: {name}", "data", words, says)

    yield asked("misspelt backbone", ("model.backbone=resnet5O", "did you mean"), "model.backbone=resnet5O", NONE)
    yield asked("unknown backbone", ("model.backbone=nonesuch: ",), "model.backbone=nonesuch", NONE)
    yield asked("unknown tag", ("resnet18", "'nonesuch'", "its tags"), "model.backbone=resnet18.nonesuch", NONE)
    yield asked("none bundled", ("model.weights=bundled", "resnet18"), "model.backbone=resnet18")
    yield asked("none on the hub", ("hub", "densenet264d"), "model.backbone=densenet264d", "model.weights=hub")
    yield asked("image size of another", ("data.image_size=32", "requires 224"), "model.backbone=deit_tiny_patch16_224",
                "model.backbone_args={}", NONE)  # fmt: skip
    yield asked("image size below the patch", ("data.image_size", "8"), "data.image_size=8",
                "model.backbone_args={img_size: 8}", NONE)  # fmt: skip
    yield asked("unknown argument", ("backbone_args", "img_sise"), "model.backbone_args={img_sise: 32}")
    yield asked("argument of a wrong type", ("backbone_args", "test_vit"), "model.backbone_args={img_size: big}", NONE)
    yield asked("width that heads do not share", ("model.backbone", "test_vit"),
                "model.backbone_args={img_size: 32, embed_dim: 7}", NONE)  # fmt: skip
    yield asked("tokens of another", ("model.head.tokens=7", "test_vit"), "model.head.tokens=7")
    yield asked("checkpointing and batchnorm", ("gradient_checkpointing", "batchnorm"), *CNN,
                "finetune.gradient_checkpointing=true", "model.batchnorm=train")  # fmt: skip
    for method in registry.plugin_names("medtune.models.peft"):
        families = (
            getattr(
                registry.load_plugin("medtune.models.peft", method, "model.peft.method"), "SUPPORTED_FAMILIES", None
            )
            or ()
        )
        for fits, backbone in (("mobilenet", CNN), ("vit", ()), ("resnet", RESNET)):
            if families and fits not in families:
                yield asked(f"{method} on a {fits}", (f"method={method}", "does not support", "It supports"), *backbone,
                            f"model.peft.method={method}")  # fmt: skip


def weights(folder: Path, small: Path) -> Iterator[Case]:
    """Weight files that are none, or another network's; the data stand ready."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    bundled = PACKAGE / "models" / "bundled"
    other = {"conv.weight": torch.zeros(2, 3)}
    save_file(other, folder / "other.safetensors")
    torch.save(other, folder / "other.pth")
    own = load_file(bundled / "test_vit.safetensors")
    name = next(key for key, value in own.items() if value.dim() == 2)
    save_file({**own, name: own[name][:1].clone()}, folder / "narrow.safetensors")
    save_file({key: value for key, value in own.items() if key != name}, folder / "lacks.safetensors")
    save_file({**own, "more.weight": torch.zeros(1)}, folder / "more.safetensors")
    save_file({**own, name: own[name] * float("nan")}, folder / "nan.safetensors")
    torch.save([1, 2], folder / "list.pth")
    torch.save({"state_dict": {"a": 1}}, folder / "numbers.pth")
    for text in ("text.safetensors", "text.pth"):
        (folder / text).write_text("no tensors")
    for empty in ("empty.safetensors", "empty.pth"):
        (folder / empty).write_bytes(b"")
    (folder / "weights.onnx").write_bytes(b"x")
    (folder / "evil.pth").write_bytes(pickle.dumps({"a": print}))
    whole = (bundled / "test_vit.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    unread, unfit = "cannot be read as plain tensors", "does not fit"
    for file, says in {
        "absent.safetensors": ("no such file",),
        "folder.pth": ("no such file",),
        "weights.onnx": ("not a weights file",),
        "other.safetensors": (unfit, "keys differ"),
        "other.pth": (unfit, "keys differ"),
        "narrow.safetensors": (unfit, name),
        "lacks.safetensors": (unfit, f"{name} missing"),
        "more.safetensors": (unfit, "more.weight unexpected"),
        "list.pth": ("no state dict",),
        "numbers.pth": ("no state dict",),
        "text.safetensors": (unread,),
        "text.pth": (unread,),
        "empty.safetensors": (unread,),
        "empty.pth": (unread,),
        "evil.pth": (unread,),
        "cut.safetensors": (unread,),
        "nan.safetensors": ("NaN", name),
    }.items():
        words = ("--no-prefect", "--params", str(small), "--set", f"model.weights={folder / file}")
        yield Case(f"weights: {file}", "train", words, ("model.weights", file, *says))
    (folder / "folder.pth").mkdir()


def fits_not_the_data(small: Path) -> Iterator[Case]:
    """Settings that the prepared data, the device or the launch do not have."""

    def asked(name: str, says: tuple[str, ...], *sets: str, command: str = "train", **environment: str) -> Case:
        words = ("--no-prefect",) if command == "train" else ()
        words = (*words, "--params", str(small), *(word for one in sets for word in ("--set", one)))
        return Case(f"settings: {name}", command, words, says, environment=environment)

    data = "medtune data"
    yield asked("other data params", ("other data params", data), "data.patients=16")
    yield asked("another image size", ("other data params", data), "data.image_size=48")
    yield asked("another class count", ("other data params", data), "data.labels=binary")
    for section in ("frozen", "finetune"):
        yield asked(f"{section} weight of no class", (f"{section}.class_weights", "'tumour'", "glands"),
                    f"{section}.class_weights={{tumour: 2}}")  # fmt: skip
        yield asked(f"{section} fp16 on a CPU", (f"{section}.precision=fp16", "GPU"), f"{section}.precision=fp16")
    yield asked("two processes", ("WORLD_SIZE=2",), WORLD_SIZE="2")
    yield asked("launcher without processes", ("accelerate launch",), command="stage frozen", MASTER_ADDR="x",
                ACCELERATE_USE_CPU="true")  # fmt: skip
    for device in ("banana", "cuda", "cuda:x"):
        yield asked(f"device {device}", ("MEDTUNE_DEVICE", device), "frozen.epochs=3", MEDTUNE_DEVICE=device)
    first = "Run `medtune "
    yield asked("stage 2 without stage 1", (f"{first}stage frozen` first",), "frozen.lr=0.5", command="stage finetune")
    yield asked("evaluate without stage 2", (f"{first}stage finetune` first",), "finetune.lr=0.5", command="evaluate")
    yield asked(
        "export without evaluate", (f"{first}evaluate` first",), "evaluate.reliability_bins=9", command="export"
    )
    for stage in ("frozen", "finetune"):
        words = ("--params", str(small), "--fold", "9")
        yield Case(f"settings: {stage} of no fold", f"stage {stage}", words, ("fold 9 does not exist", "0 to 2"))
    for stage in ("data", "frozen", "finetune", "evaluate", "export"):
        words = ("--params", str(small), "--set", "seed=-1")
        yield Case(f"settings: a wrong seed for {stage}", f"stage {stage}", words, ("seed is -1",))
