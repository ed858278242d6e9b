"""Cache keys: two runs share one exactly when they would produce the same result."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from medtune.config import registry
from medtune.config.errors import InputError, suggestion
from medtune.config.project import PACKAGE, PROJECT
from medtune.config.schema import Params
from medtune.runtime.artifact import digest, file_sha256
from medtune.runtime.file_state import State, file_state
from medtune.runtime.provenance import package_versions
from medtune.runtime.source_hash import source_fingerprint

# The params a stage reads, besides its own upstream artifacts and the data digest.
STAGE_SECTIONS: dict[str, tuple[str, ...]] = {
    "frozen": ("task", "model", "frozen"),
    "finetune": ("task", "model", "finetune"),
    "evaluate": ("task", "evaluate"),
    "export": ("task", "export"),
    "cell": ("task", "model", "frozen", "finetune", "evaluate"),
}
# Where each stage's code starts.
MODULES = {stage: f"medtune.stages.{stage}" for stage in STAGE_SECTIONS} | {"cell": "medtune.benchmark.trial"}
# What decodes the files of one source only.
SOURCE_PACKAGES = {"slides": ("tifffile", "imagecodecs", "zarr")}
STAGE_PACKAGES = ("torch", "torchvision", "timm", "peft", "numpy", "scipy", "scikit-learn")
# Pillow decodes and resizes, scikit-learn deals the image-level folds.
DATA_PACKAGES = ("pillow", "numpy", "scikit-learn", "imagehash")
TRAINING = ("frozen", "finetune")
# The parts of a task's folder that a stage runs.
TASK_PARTS: dict[str, tuple[str, ...]] = {
    "frozen": ("training",),
    "finetune": ("training",),
    "evaluate": ("training", "evaluation"),
    "export": ("training", "export", "evaluation"),
    "cell": ("training", "evaluation"),
}
# Settings that decide how often work is saved, not what comes out.
EXCLUDED_KEYS = {"checkpoint_seconds"}
FINETUNE_ONLY = {"peft", "batchnorm"}
# Of section frozen, what a solved head does not use: it has no optimizer, and its stored views are not augmented.
NOT_SOLVED_BY = {
    "epochs", "repeats_per_epoch", "lr", "batch_size", "gradient_accumulation_steps", "optimizer", "weight_decay",
    "warmup_epochs", "clip_norm", "precision", "ema_decay", "patience", "augment",
}  # fmt: skip
# Only the evaluation stage has subgroups; a trial of the benchmark would train again.
SUBGROUPS = {"by", "bins"}


def data_key(params: Params) -> str:
    """Cache key of the data stage: its params, its source and the libraries that decide its result."""
    return digest(
        {
            "stage": "data",
            "params": _data_section(params),
            "task": params.section("task"),
            "source": source_fingerprint(
                "medtune.stages.data",
                f"medtune.data.sources.{params.data.source}",
                f"medtune.tasks.{params.task.kind}.targets",
            ),
            "versions": package_versions(*DATA_PACKAGES, *SOURCE_PACKAGES.get(params.data.source, ())),
        }
    )


def _data_section(params: Params) -> dict[str, Any]:
    """Section data, in which naming the positive class that the source declares anyway changes nothing."""
    section = params.section("data")
    if section["positive"] is None:
        source = registry.load_plugin("medtune.data.sources", params.data.source, "data.source")
        section["positive"] = source.positive_class(params.data) if hasattr(source, "positive_class") else None
    return section


def stage_key(stage: str, params: Params, inputs: dict[str, Any], device: str) -> str:
    """The cache key of one run of `stage`, a pure function of what is given and of the source on disk.

    Args:
        stage: frozen, finetune, evaluate, export or cell.
        params: all params; only the sections the stage reads count.
        inputs: everything else that counts: data digest, fold, upstream artifacts' sha256.
        device: device class (cpu, cuda, mps).
    """
    excluded = EXCLUDED_KEYS | {"frozen": FINETUNE_ONLY, "cell": SUBGROUPS}.get(stage, set())
    sections = {name: _without(params.section(name), excluded) for name in STAGE_SECTIONS[stage]}
    for name in TRAINING:
        if name in sections:  # however they are written; other heads' and methods' rates do not count
            sections[name]["lr"] = list(params.learning_rates(name))
    if "frozen" in sections and params.model.head.solved:
        sections["frozen"] = _without(sections["frozen"], NOT_SOLVED_BY)
    parts = [f"medtune.tasks.{params.task.kind}.{part}" for part in TASK_PARTS[stage]]
    plugins = [f"medtune.models.heads.{params.model.head.kind}", *parts, *_metric_modules(params, stage in TRAINING)]
    if stage in ("finetune", "cell"):
        plugins.append(f"medtune.models.peft.{params.model.peft.method}")
    return digest(
        {
            "stage": stage,
            "params": sections,
            "inputs": inputs,
            "source": source_fingerprint(MODULES[stage], *plugins),
            "weights": weights_sha256(params),
            "card": _weights_metadata_hash(params),
            "versions": package_versions(*STAGE_PACKAGES),
            "device": device,
            "seed": params.seed,
        }
    )


def _metric_modules(params: Params, each_epoch: bool) -> list[str]:
    """Modules that define the task's metrics, which no import names; `each_epoch`: those of training."""
    metrics = registry.load_part("medtune.tasks", params.task.kind, "metrics", "task.kind").METRICS
    return [metric.formula.__module__ for metric in metrics if metric.each_epoch or not each_epoch]


def _without(section: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in names}


def weights_sha256(params: Params) -> str:
    """Content digest of the pretrained weights where they are a file; else the name that fixes them.

    Raises:
        InputError: bundled weights are asked for a backbone that has none.
    """
    model = params.model
    if model.weights == "bundled":
        folder = PACKAGE / "models" / "bundled"
        known = sorted(path.stem for path in folder.glob("*.safetensors"))
        if model.backbone not in known:
            raise InputError(
                f"model.weights is bundled, but {model.backbone!r} has none{suggestion(model.backbone, known)}; "
                f"bundled here: {', '.join(known) or 'none'}; set model.weights=hub for any other"
            )
        return _sha256(folder / f"{model.backbone}.safetensors")
    path = PROJECT / model.weights
    return _sha256(path) if path.is_file() else f"{model.weights}:{model.backbone}"


def _weights_metadata_hash(params: Params) -> str | None:
    """Digest of what is known of shipped weights: their mean and std come from there."""
    path = PACKAGE / "models" / "bundled" / f"{params.model.backbone}.json"
    return _sha256(path) if params.model.weights == "bundled" and path.is_file() else None


def _sha256(path: Path) -> str:
    return _sha256_of(path, file_state(path))


@lru_cache(maxsize=64)
def _sha256_of(path: Path, state: State) -> str:
    """Hash a weights file once per process while it stays the same: every key of a pipeline contains it."""
    return file_sha256(path)
