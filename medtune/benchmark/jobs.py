"""The grid, trial by trial: params, learning rates, data and key of each, and which are already there."""

import copy
from collections.abc import Sequence
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
from medtune.data.manifest import PreparedDataset
from medtune.data.prepared import open_prepared
from medtune.models.peft_support import supported, supports
from medtune.runtime.artifact import Artifact, find_artifact
from medtune.runtime.cache_key import data_key
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths


@dataclass(frozen=True)
class TrialJob:
    """One trial, ready to be computed anywhere that sees `prepared` and `out`.

    Attributes:
        trial: which.
        params: its own, with the learning rates that it chooses from.
        threads: CPU threads.
        with_validation: whether the share applies to the validation patients, too.
        prepared: folder of its data set.
        key: its cache key.
    """

    trial: TrialId
    params: Params
    threads: int
    with_validation: bool
    prepared: Path
    key: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return {
            "trial": asdict(self.trial),
            "params": self.params.model_dump(mode="json"),
            "threads": self.threads,
            "with_validation": self.with_validation,
            "prepared": str(self.prepared),
            "key": self.key,
        }


def list_trials(grid: BenchmarkParams, tree: dict[str, Any]) -> dict[TrialId, Params]:
    """Every trial of the grid with its params, in order; a method is left out where it does not fit the backbone.

    Raises:
        InputError: unknown method, one that fits no backbone of the grid, or params that are wrong.
    """
    from medtune.models.backbones import family

    methods = all_methods() if grid.methods == "all" else grid.methods
    plans = {method: parse_method(method, grid.head) for method in methods}
    found: dict[TrialId, Params] = {}
    fits: dict[str, bool] = dict.fromkeys(methods, False)
    for data, own_data in grid.data.items():
        for backbone, own_model in grid.backbones.items():
            base = _merged(tree, {"data": own_data, "model": {"backbone": backbone, **own_model}})
            kind = family(base["model"]["backbone"])
            for method, chosen in plans.items():
                if not _is_compatible(chosen, kind):
                    continue
                fits[method] = True
                for percent in grid.percent:
                    for seed in grid.seeds:
                        trial = TrialId(data, backbone, method, percent, seed)
                        found[trial] = _params(base, chosen, trial, grid.lr.get(method))
    if grid.methods != "all" and (unfit := [method for method, fit in fits.items() if not fit]):
        raise InputError(
            f"benchmark.methods: {unfit[0]!r} does not support {', '.join(grid.backbones)}; it supports the families "
            f"{supported(_plugin(plans[unfit[0]]))} (docs/methods.md)"
        )
    return found


def build_jobs(grid: BenchmarkParams, params: dict[TrialId, Params], paths: RunPaths) -> list[TrialJob]:
    """Every trial with its data prepared and its key made; each data set is decoded once."""
    ready: dict[str, tuple[Path, PreparedDataset]] = {}
    made = []
    for trial, own in params.items():
        if trial.data not in ready:
            folder = _prepare(own, paths, trial.data)
            ready[trial.data] = folder, open_prepared(replace(paths, data=folder))
        folder, prepared = ready[trial.data]
        made.append(build_job(grid, trial, own, folder, prepared))
    return made


def build_job(
    grid: BenchmarkParams, trial: TrialId, params: Params, folder: Path, prepared: PreparedDataset
) -> TrialJob:
    """One trial's work on its prepared data."""
    from medtune.benchmark import trial as trials

    params = _with_min_steps(params, grid.min_steps)
    with_validation = grid.validation == "share"
    key = trials.trial_key(params, prepared, trial, grid.threads, with_validation)
    return TrialJob(trial, params, grid.threads, with_validation, folder, key)


def find_record(job: TrialJob, paths: RunPaths) -> Artifact | None:
    """The trial's verified record, if it is there."""
    from medtune.benchmark import trial as trials

    return find_artifact(trials.record_dir(paths, job.trial), job.key)


def check(params: Sequence[Params]) -> None:
    """Refuse a backbone, weights or image size that do not fit together, and weights that cannot be fetched.

    Each combination is checked once.

    Raises:
        InputError: says which.
    """
    from medtune.models.backbones import check_backbone
    from medtune.stages.dry_run import check_hub

    seen = set()
    for one in params:
        model = one.model_dump_json(include={"model": {"backbone", "weights", "backbone_args", "head"}})
        if (combination := (model, one.data.image_size)) not in seen:
            seen.add(combination)
            check_hub(one)
            check_backbone(one)


def _is_compatible(chosen: MethodSpec, kind: str) -> bool:
    return chosen.peft == "none" or supports(_plugin(chosen), kind)


def _plugin(chosen: MethodSpec) -> ModuleType:
    return registry.load_plugin(METHODS, chosen.peft, "benchmark.methods")


def _merged(tree: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    base = copy.deepcopy(tree)
    merge(base, overlay)
    return base


def _params(base: dict[str, Any], chosen: MethodSpec, trial: TrialId, rates: list[float] | None) -> Params:
    """Params of a trial; the last stage chooses from `rates`, or from the grid of what it trains."""
    own = {
        STAGES[chosen.schedule][-1]: {"lr": rates or "auto"},
        "seed": trial.seed,
        "schedule": chosen.schedule,
        "model": {"head": {"kind": chosen.head}, "peft": {"method": chosen.peft}},
        "tracking": {"mode": "disabled"},  # the benchmark is one run, not a run a trial
    }
    return validate(_merged(base, own))


def _with_min_steps(params: Params, min_steps: int) -> Params:
    """Return `params` whose stages have at least `min_steps` optimizer steps."""
    stages = {name: getattr(params, name) for name in ("frozen", "finetune")}
    least = {name: max(own.min_steps, min_steps) for name, own in stages.items()}
    return params.model_copy(
        update={name: own.model_copy(update={"min_steps": least[name]}) for name, own in stages.items()}
    )


def _prepare(params: Params, paths: RunPaths, label: str) -> Path:
    from medtune.stages import data

    if find_artifact(paths.prepared, data_key(params)):  # what `dvc repro` prepared is the same set
        own = paths
    else:
        own = RunPaths(paths.cache / "benchmark" / "data" / label, paths.cache)
    info(f"benchmark: data set {label}")
    data.run(params, own)
    return own.prepared
