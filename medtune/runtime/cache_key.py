"""Cache keys. Two runs have the same key if and only if they produce the same result."""

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

# Sections of params that each stage reads, in addition to upstream artifacts and the data digest. `trial` is a training
# of the benchmark.
STAGE_SECTIONS: dict[str, tuple[str, ...]] = {
    "frozen": ("task", "model", "frozen"),
    "finetune": ("task", "model", "finetune"),
    "evaluate": ("task", "evaluate"),
    "export": ("task", "export"),
    "trial": ("task", "model", "frozen", "finetune", "evaluate"),
}
# Entry module of each stage.
MODULES = {stage: f"medtune.stages.{stage}" for stage in STAGE_SECTIONS} | {"trial": "medtune.benchmark.trial"}
# Packages that only one data source uses, to decode its files.
SOURCE_PACKAGES = {
    "slides": ("tifffile", "imagecodecs", "zarr"),
    **dict.fromkeys(("decathlon", "nnunet", "phantom", "volumes"), ("nibabel",)),
    "dicom": ("nibabel", "pydicom", "imagecodecs"),
}
# Packages that only one task uses.
TASK_PACKAGES = {"segmentation": ("monai", "nibabel")}
STAGE_PACKAGES = ("torch", "torchvision", "timm", "peft", "numpy", "scipy", "scikit-learn")
# Pillow decodes and resizes. scikit-learn assigns images to folds.
DATA_PACKAGES = ("pillow", "numpy", "scikit-learn", "imagehash")
TRAINING = ("frozen", "finetune")
# Modules of a task that each stage runs.
TASK_PARTS: dict[str, tuple[str, ...]] = {
    "frozen": ("training",),
    "finetune": ("training",),
    "evaluate": ("training", "evaluation"),
    "export": ("training", "export", "evaluation"),
    "trial": ("training", "evaluation"),
}
# Params that do not affect results.
EXCLUDED_KEYS = {"checkpoint_seconds"}
FINETUNE_ONLY = {"peft", "batchnorm"}  # keys of section model that only stage finetune uses
# Keys of section frozen that a solved head does not use. A solver fits this head without optimizer and augmentation.
NOT_USED_BY_SOLVER = {
    "epochs", "repeats_per_epoch", "lr", "batch_size", "gradient_accumulation_steps", "optimizer", "weight_decay",
    "warmup_epochs", "clip_norm", "precision", "ema_decay", "patience", "augment",
}  # fmt: skip
# Params that only the evaluate stage of a pipeline uses: subgroups and control runs. The cache key of a trial omits
# these params, because a change would otherwise repeat the training.
NOT_IN_TRIALS = {"by", "bins", "controls"}


def data_key(params: Params) -> str:
    """Return the cache key of the data stage, a digest of its params, source code and libraries."""
    return digest(
        {
            "stage": "data",
            "params": _data_section(params),
            "task": {"kind": params.task.kind},  # the targets do not depend on further params of the task
            "source": source_fingerprint(
                "medtune.stages.data",
                f"medtune.data.sources.{params.data.source}",
                f"medtune.tasks.{params.task.kind}.targets",
            ),
            "versions": package_versions(*DATA_PACKAGES, *SOURCE_PACKAGES.get(params.data.source, ())),
        }
    )


def _data_section(params: Params) -> dict[str, Any]:
    """Return section data. A null `positive` is replaced by the class that the source declares, which is equivalent."""
    section = params.section("data")
    if section["positive"] is None:
        source = registry.load_plugin("medtune.data.sources", params.data.source, "data.source")
        section["positive"] = source.positive_class(params.data) if hasattr(source, "positive_class") else None
    return section


def stage_key(stage: str, params: Params, inputs: dict[str, Any], device: str) -> str:
    """Return the cache key of a stage. The key depends only on the arguments and on the source code on disk.

    Args:
        stage: frozen, finetune, evaluate, export or trial.
        params: all params. Only the sections that the stage reads affect the key.
        inputs: all other inputs: data digest, fold and SHA-256 of upstream artifacts.
        device: device class (cpu, cuda, mps).

    Returns:
        SHA-256 as a hexadecimal string.
    """
    excluded = EXCLUDED_KEYS | {"frozen": FINETUNE_ONLY, "trial": NOT_IN_TRIALS}.get(stage, set())
    sections = {name: _without(params.section(name), excluded) for name in STAGE_SECTIONS[stage]}
    if stage in TRAINING:  # training does not use params such as the tolerance of a metric
        sections["task"] = _without(sections["task"], set(getattr(params.task, "EVALUATE_ONLY", ())))
    for name in TRAINING:
        if name in sections:  # a number, a list and `auto` that give the same candidates have the same key
            sections[name]["lr"] = list(params.learning_rates(name))
    if "frozen" in sections and params.model.head.solved:
        sections["frozen"] = _without(sections["frozen"], NOT_USED_BY_SOLVER)
    parts = [f"medtune.tasks.{params.task.kind}.{part}" for part in TASK_PARTS[stage]]
    plugins = [f"medtune.models.heads.{params.model.head.kind}", *parts, *_metric_modules(params, stage in TRAINING)]
    if stage in ("finetune", "trial"):
        plugins.append(f"medtune.models.peft.{params.model.peft.method}")
    return digest(
        {
            "stage": stage,
            "params": sections,
            "inputs": inputs,
            "source": source_fingerprint(MODULES[stage], *plugins),
            "weights": weights_sha256(params),
            "card": _weights_metadata_hash(params),
            "versions": package_versions(*STAGE_PACKAGES, *TASK_PACKAGES.get(params.task.kind, ())),
            "device": device,
            "seed": params.seed,
        }
    )


def _metric_modules(params: Params, each_epoch: bool) -> list[str]:
    """Return the modules of the task's metrics. With `each_epoch`, only of metrics that every epoch computes.

    No other module imports these modules, so `source_fingerprint` would not find them.
    """
    metrics = registry.load_part("medtune.tasks", params.task.kind, "metrics", "task.kind").METRICS
    formulas = [metric.formula for metric in metrics if metric.each_epoch or not each_epoch]
    # A `functools.partial` has the function as `func`.
    return [getattr(formula, "func", formula).__module__ for formula in formulas]


def _without(section: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in names}


def weights_sha256(params: Params) -> str:
    """Return the identity of the pretrained weights for cache keys.

    Args:
        params: params with section model.

    Returns:
        SHA-256 of the weights file, or `weights:backbone` if the weights are not a local file.

    Raises:
        InputError: model.weights=bundled, but MedTune has no weights for the backbone.
    """
    model = params.model
    if model.weights == "bundled":
        folder = PACKAGE / "models" / "bundled"
        known = sorted(path.stem for path in folder.glob("*.safetensors"))
        if model.backbone not in known:
            raise InputError(
                f"model.weights=bundled: no bundled weights for {model.backbone!r}{suggestion(model.backbone, known)}. "
                f"Bundled backbones: {', '.join(known) or 'none'}. For others use model.weights=hub"
            )
        return _sha256(folder / f"{model.backbone}.safetensors")
    path = PROJECT / model.weights
    return _sha256(path) if path.is_file() else f"{model.weights}:{model.backbone}"


def _weights_metadata_hash(params: Params) -> str | None:
    """Return the digest of the metadata of bundled weights, which contains their mean and std."""
    path = PACKAGE / "models" / "bundled" / f"{params.model.backbone}.json"
    return _sha256(path) if params.model.weights == "bundled" and path.is_file() else None


def _sha256(path: Path) -> str:
    return _sha256_of(path, file_state(path))


@lru_cache(maxsize=64)
def _sha256_of(path: Path, state: State) -> str:
    """Hash a weights file once per process and file state, because every key of a pipeline contains the hash."""
    return file_sha256(path)
