"""Jobs of the benchmark. A job is a trial of the grid with its params, prepared data and cache key."""

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from medtune.benchmark.grid import METHODS, BenchmarkParams, MethodSpec, TrialId, all_methods, parse_method
from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.load import merge, validate
from medtune.config.schema import Params
from medtune.config.training import STAGES
from medtune.config.volume_model import NO_BACKBONE, VOLUME_NETWORKS
from medtune.data.manifest import PreparedDataset
from medtune.data.prepared import open_prepared
from medtune.models.peft_support import VOLUME, supported, supports
from medtune.runtime.artifact import Artifact, find_artifact
from medtune.runtime.cache_key import data_key
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths


@dataclass(frozen=True)
class TrialJob:
    """One trial, ready to run on any machine that has the prepared data and the artifacts folder.

    Attributes:
        trial: identity of the trial.
        params: params of the trial, with the learning rates to select from.
        threads: number of CPU threads.
        with_validation: True if the percentage also applies to the validation patients.
        prepared: folder of the prepared data.
        key: cache key of the trial.
    """

    trial: TrialId
    params: Params
    threads: int
    with_validation: bool
    prepared: Path
    key: str

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values for another process."""
        return {
            "trial": asdict(self.trial),
            "params": self.params.model_dump(mode="json"),
            "threads": self.threads,
            "with_validation": self.with_validation,
            "prepared": str(self.prepared),
            "key": self.key,
        }


def list_trials(grid: BenchmarkParams, tree: dict[str, Any]) -> dict[TrialId, Params]:
    """List all trials of the grid with their params, in order.

    Trials with a method that does not support the backbone are left out.

    Args:
        grid: grid of the benchmark.
        tree: params that the trials share, as nested dicts.

    Returns:
        Params by trial.

    Raises:
        InputError: a method is unknown or supports no backbone of the grid, or params are invalid.
    """
    methods = all_methods() if grid.methods == "all" else grid.methods
    specs = {method: parse_method(method, grid.head) for method in methods}
    params: dict[TrialId, Params] = {}
    compatible: set[str] = set()
    for data, data_section in grid.data.items():
        for backbone, model_section in grid.backbones.items():
            base = _merged(tree, {"data": data_section, "model": {"backbone": backbone, **model_section}})
            with keys_of_grid(grid, data, backbone):
                kind = _family(base["model"]["backbone"])
            for method, spec in specs.items():
                if not _is_compatible(spec, kind):
                    continue
                compatible.add(method)
                for percent in grid.train_percent:
                    for seed in grid.seeds:
                        trial = TrialId(data, backbone, method, percent, seed)
                        with keys_of_grid(grid, data, backbone):
                            params[trial] = _params(base, spec, trial, grid.lr.get(method))
    if grid.methods != "all" and (unsupported := [method for method in methods if method not in compatible]):
        raise InputError(
            f"benchmark.methods={unsupported[0]}: the method does not support {', '.join(grid.backbones)}. It supports "
            f"{supported(_plugin(specs[unsupported[0]]))} (docs/methods.md)."
        )
    return params


def summary_params(tree: dict[str, Any], first: Params) -> Params:
    """Return the params of the W&B run of the benchmark: those of a trial, with section `tracking` of the tree.

    The tree alone may be invalid, because it lacks the sections of the grid.

    Args:
        tree: params tree that the trials share.
        first: params of the first trial, which has no W&B run.

    Returns:
        The params.

    Raises:
        InputError: section `tracking` is invalid.
    """
    return validate({**first.model_dump(mode="json"), "tracking": tree.get("tracking", {})})


def build_jobs(grid: BenchmarkParams, params: dict[TrialId, Params], paths: RunPaths) -> list[TrialJob]:
    """Prepare each dataset once, and build the jobs of all trials.

    Args:
        grid: grid of the benchmark.
        params: params by trial.
        paths: where to read and write.

    Returns:
        One job per trial, in the order of `params`.

    Raises:
        InputError: a dataset is invalid.
    """
    datasets: dict[str, tuple[Path, PreparedDataset]] = {}
    jobs = []
    for trial, trial_params in params.items():
        if trial.data not in datasets:
            folder = _prepare(trial_params, paths, trial.data)
            datasets[trial.data] = folder, open_prepared(replace(paths, data=folder))
        folder, prepared = datasets[trial.data]
        jobs.append(build_job(grid, trial, trial_params, folder, prepared))
    return jobs


def build_job(
    grid: BenchmarkParams, trial: TrialId, params: Params, folder: Path, prepared: PreparedDataset
) -> TrialJob:
    """Return the job of one trial.

    Args:
        grid: grid of the benchmark.
        trial: identity of the trial.
        params: params of the trial.
        folder: folder of the prepared data.
        prepared: the prepared data in `folder`.
    """
    from medtune.benchmark import trial as trials

    params = _with_min_steps(params, grid.min_steps)
    with_validation = grid.validation == "fraction"
    key = trials.trial_key(params, prepared, trial, grid.threads, with_validation)
    return TrialJob(trial, params, grid.threads, with_validation, folder, key)


def find_record(job: TrialJob, paths: RunPaths) -> Artifact | None:
    """Return the verified record (the result) of a trial; None if the trial is not finished."""
    from medtune.benchmark import trial as trials

    return find_artifact(trials.record_dir(paths, job.trial), job.key)


def check(grid: BenchmarkParams, params: Mapping[TrialId, Params]) -> None:
    """Check each combination of backbone, weights and image size once.

    Args:
        grid: grid of the benchmark.
        params: params by trial.

    Raises:
        InputError: a backbone, its weights and the image size are incompatible, or weights cannot be downloaded.
    """
    from medtune.stages.dry_run import check_architecture, check_hub

    seen = set()
    for trial, trial_params in params.items():
        model = trial_params.model_dump_json(include={"model": {"backbone", "weights", "backbone_args", "head"}})
        data = trial_params.data
        combination = (model, trial_params.model.peft.method, data.image_size, getattr(data, "patch", None))
        if combination not in seen:
            seen.add(combination)
            with keys_of_grid(grid, trial.data, trial.backbone):
                check_hub(trial_params)
                check_architecture(trial_params)


@contextmanager
def keys_of_grid(grid: BenchmarkParams, data: str, backbone: str) -> Iterator[None]:
    """Replace the keys of params in error messages of the block with the keys of the grid.

    Example: `benchmark.backbones.LABEL.weights` replaces `model.weights`.

    Args:
        grid: grid of the benchmark.
        data: label of the data.
        backbone: label of the backbone. It is also the name of the backbone unless the grid sets another one.

    Raises:
        InputError: the error of the block with the changed message.
    """
    sections = {
        "data": (f"benchmark.data.{data}", grid.data[data]),
        "model": (f"benchmark.backbones.{backbone}", grid.backbones[backbone]),
    }
    try:
        yield
    except InputError as error:
        message = str(error)
        for section, (name, keys) in sections.items():
            for key in keys:
                message = re.sub(rf"(?<![\w.]){section}\.{re.escape(str(key))}\b", f"{name}.{key}", message)
        if "backbone" not in sections["model"][1]:
            message = message.replace(f"model.backbone={backbone}", sections["model"][0])
        raise InputError(message) from error


def _family(backbone: str) -> str:
    """Return the family of a backbone, which decides what methods it supports."""
    if backbone in VOLUME_NETWORKS:
        return VOLUME
    if backbone == NO_BACKBONE:
        return NO_BACKBONE
    from medtune.models.backbones import family

    return family(backbone)


def _is_compatible(spec: MethodSpec, kind: str) -> bool:
    """Return True if a backbone of the family `kind` supports a method."""
    if kind == NO_BACKBONE:
        return spec.peft == "none" and spec.schedule != "staged"
    return spec.peft == "none" or supports(_plugin(spec), kind)


def _plugin(spec: MethodSpec) -> ModuleType:
    return registry.load_plugin(METHODS, spec.peft, "benchmark.methods")


def _merged(tree: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `tree` with the values of `overlay`."""
    base = copy.deepcopy(tree)
    merge(base, overlay)
    return base


def _params(base: dict[str, Any], spec: MethodSpec, trial: TrialId, rates: list[float] | None) -> Params:
    """Build the params of a trial. Its last stage selects a learning rate from `rates`; None for `LR_GRID`."""
    overlay = {
        STAGES[spec.schedule][-1]: {"lr": rates or "auto"},
        "seed": trial.seed,
        "schedule": spec.schedule,
        "model": {"head": {"kind": spec.head}, "peft": {"method": spec.peft}},
        "tracking": {"mode": "disabled"},  # one W&B run for the benchmark, not one per trial
    }
    return validate(_merged(base, overlay))


def _with_min_steps(params: Params, min_steps: int) -> Params:
    """Return a copy of `params` whose training stages have at least `min_steps` optimizer steps."""
    stages = {name: getattr(params, name) for name in ("frozen", "finetune")}
    return params.model_copy(
        update={
            name: section.model_copy(update={"min_steps": max(section.min_steps, min_steps)})
            for name, section in stages.items()
        }
    )


def _prepare(params: Params, paths: RunPaths, label: str) -> Path:
    """Prepare the dataset with this label, and return its folder."""
    from medtune.stages import data

    if not find_artifact(paths.prepared, data_key(params)):  # reuse data that `dvc repro` prepared
        paths = RunPaths(paths.cache / "benchmark" / "data" / label, paths.cache)
    info(f"benchmark: dataset {label}")
    data.run(params, paths)
    return paths.prepared
