"""Grid of the benchmark (benchmark.yaml): the values that are combined to trials.

A trial trains and tests one combination of data, backbone, method, percentage of the training patients, and seed. The
section `benchmark` of the file is the grid. Its other sections override params.yaml for all trials.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from medtune.config import registry
from medtune.config.base import BaseParams, StrictParams, renamed
from medtune.config.errors import InputError, suggestion
from medtune.config.load import apply_overrides, merge, read, read_base
from medtune.config.project import PROJECT
from medtune.config.schema import DEFAULT_TASK, Positive
from medtune.config.training import Schedule
from medtune.config.validation_errors import format_validation_error, param_error

GRID_FILE = PROJECT / "benchmark.yaml"
HEADS, METHODS = "medtune.models.heads", "medtune.models.peft"
BASELINES = ("linear", "cdtm", "full")
COMBINED = ("cdtm+full", "cdtm+lora")  # stage 1 trains the head cdtm, stage 2 fine-tunes the network
Label = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][\w.+-]*$"),
    Field(description="a string of letters, digits and . _ + -, with a letter or digit first"),
]


@dataclass(frozen=True, order=True)
class TrialId:
    """Identity of a trial: labels of data and backbone, method, percentage of the training patients, and seed."""

    data: str
    backbone: str
    method: str
    percent: int
    seed: int

    @property
    def name(self) -> str:
        """Name for messages, such as `synthetic test_vit lora 10 % seed 1`."""
        return f"{self.data} {self.backbone} {self.method} {self.percent} % seed {self.seed}"

    @property
    def slug(self) -> str:
        """Name for folders, such as `synthetic-test_vit-lora-10pc-seed1`."""
        return f"{self.data}-{self.backbone}-{self.method}-{self.percent}pc-seed{self.seed}"


class LocalRunner(BaseParams):
    """Option `runner`: worker processes on this machine."""

    kind: Literal["local"] = "local"
    workers: Annotated[int, Field(gt=0, strict=True)] | None = Field(
        None, description="number of processes; null for the number of cores divided by threads"
    )


class DaskRunner(BaseParams):
    """Option `runner`: a Dask cluster. Its workers need this checkout, .cache and artifacts at the same paths."""

    kind: Literal["dask"]
    address: str = Field(description="address of the scheduler", examples=["tcp://HOST:8786"])

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        if not address.startswith(("tcp://", "tls://", "ucx://")):
            raise ValueError("expected a scheduler address such as tcp://HOST:8786")
        return address


class BenchmarkParams(StrictParams):
    """Section `benchmark`: the grid, and options for training and evaluating its trials."""

    REMOVED: ClassVar[dict[str, str]] = {
        "benchmark.replicates": "no longer supported, because intervals need no resampling. Delete this key.",
        **renamed("benchmark", percent="train_percent"),
    }

    data: Annotated[dict[Label, dict[str, Any]], Field(min_length=1)] = Field(
        description="sections `data` of the params, by label", examples=[{"synthetic": {"source": "synthetic"}}]
    )
    backbones: Annotated[dict[Label, dict[str, Any]], Field(min_length=1)] = Field(
        description="sections `model` of the params, by label", examples=[{"test_vit": {"weights": "none"}}]
    )
    methods: Literal["all"] | Annotated[list[str], Field(min_length=1)] = Field("all", examples=[["linear", "lora"]])
    train_percent: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)] = Field(
        [10, 100], description="percentages of the training patients. Smaller subsets are nested in larger ones"
    )
    validation: Literal["fraction", "all"] = Field(
        "fraction",
        description="fraction: use the same percentage of the validation patients as of the training patients; "
        "all: use all validation patients",
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field([1])
    lr: dict[str, Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="learning rates by method, from which validation selects; default: LR_GRID of the method",
        examples=[{"lora": [0.001, 0.01]}],
    )
    head: str = Field("linear", description="head for PEFT methods and full fine-tuning")
    metric: str = Field("balanced_accuracy", description="metric of the task for the comparison of methods")
    min_steps: Annotated[int, Field(ge=0)] = Field(
        60, description="repeat small subsets until each training stage has at least this many optimizer steps"
    )
    threads: Positive = Field(
        1, description="CPU threads per trial. They are part of the cache key, because they affect rounding"
    )
    retries: Annotated[int, Field(ge=0, le=5)] = Field(1, description="number of retries of a failed trial")
    runner: LocalRunner | DaskRunner = Field(LocalRunner(), discriminator="kind")

    @model_validator(mode="after")
    def _check_duplicates(self) -> "BenchmarkParams":
        for name in ("methods", "train_percent", "seeds"):
            values = getattr(self, name)
            if values != "all" and len(set(values)) < len(values):
                raise param_error(
                    name, values, f"contains {next(v for v in values if values.count(v) > 1)!r} twice. Remove one"
                )
        return self

    @property
    def workers(self) -> int:
        """Number of processes of a local runner."""
        requested = self.runner.workers if isinstance(self.runner, LocalRunner) else None
        return requested or max(1, len(os.sched_getaffinity(0)) // self.threads)


@dataclass(frozen=True)
class MethodSpec:
    """Settings of a benchmark method.

    Attributes:
        schedule: training stages: `frozen` (stage 1), `full` (stage 2) or `staged` (both).
        head: name of the head.
        peft: PEFT method of stage 2; `none` for stage 1 only, or to fine-tune all weights.
    """

    schedule: Schedule
    head: str
    peft: str


def parse_method(method: str, head: str, setting: str = "") -> MethodSpec:
    """Parse the name of a benchmark method.

    The name of a head, such as `linear`, means stage 1: the head is trained on the frozen backbone. The name of a PEFT
    method, or `full`, means stage 2 with the head `head`. `cdtm+lora` means stage 1 with the head cdtm, then stage 2
    with LoRA.

    Args:
        method: name in the grid.
        head: head for PEFT methods and full fine-tuning.
        setting: key of the grid that contains the name, for the error message; default `benchmark.methods=METHOD`.

    Returns:
        Settings of the method.

    Raises:
        InputError: the head or the method does not exist.
    """
    heads, methods = registry.plugin_names(HEADS), [name for name in registry.plugin_names(METHODS) if name != "none"]
    first, plus, second = method.partition("+")
    if not plus and first in heads:
        return MethodSpec("frozen", first, "none")
    adaptation = second if plus else first
    if (plus and first not in heads) or (adaptation != "full" and adaptation not in methods):
        setting, known = setting or f"benchmark.methods={method}", [*heads, "full", *methods]
        raise InputError(
            f"{setting}: unknown method{suggestion(method, known)}. Choose a head ({', '.join(heads)}), 'full' "
            "(fine-tuning of all weights), a PEFT method (docs/methods.md), or HEAD+METHOD for both stages."
        )
    peft = "none" if adaptation == "full" else adaptation
    return MethodSpec("staged", first, peft) if plus else MethodSpec("full", head, peft)


def all_methods() -> list[str]:
    """Return the methods of `methods: all`, baselines first."""
    return [*BASELINES, *(name for name in registry.plugin_names(METHODS) if name != "none"), *COMBINED]


def load_grid(path: Path | None = None, sets: Sequence[str] = ()) -> tuple[BenchmarkParams, dict[str, Any]]:
    """Load the grid and the params that its trials share.

    Args:
        path: grid file; None for benchmark.yaml of the checkout.
        sets: overrides `section.key=value`, including `benchmark.*`.

    Returns:
        The grid, and the shared params as nested dicts that are not validated yet.

    Raises:
        InputError: the file or an override is invalid. The message names the key, its value and the allowed values.
    """
    tree = read_base(with_overlay=path is not None)
    merge(tree, read(path or GRID_FILE))
    apply_overrides(tree, sets)
    section = tree.pop("benchmark", None)
    if section is None:
        raise InputError(f"{path or GRID_FILE}: the file has no section benchmark. Add it, as in benchmark.yaml.")
    try:
        grid = BenchmarkParams.model_validate(section)
    except ValidationError as error:
        raise InputError(format_validation_error(error, BenchmarkParams, "benchmark")) from None
    registry.load_plugin(HEADS, grid.head, "benchmark.head")
    task = tree.get("task") or {}
    kind = task.get("kind", DEFAULT_TASK) if isinstance(task, dict) else task
    metrics = registry.load_part("medtune.tasks", kind, "metrics", "task.kind").METRICS
    known = [metric.name for metric in metrics if metric.direction != "target"]
    registry.check_metric("benchmark.metric", grid.metric, known)
    for method in grid.lr:  # learning rates of a misspelled method would be ignored silently
        parse_method(method, grid.head, f"benchmark.lr.{method}")
    return grid, tree


def filter_trials(trials: Sequence[TrialId], only: Sequence[str]) -> list[TrialId]:
    """Return the trials that match all filters.

    Args:
        trials: all trials of the grid.
        only: filters `field=value[,value]`, from the option `--only`. A filter matches any of its values.

    Returns:
        The matching trials; all trials if there is no filter.

    Raises:
        InputError: a field or value does not exist, or no trial matches.
    """
    selected = list(trials)
    for condition in only:
        field, equals, values = condition.partition("=")
        if not equals or field not in TrialId.__dataclass_fields__:
            fields = list(TrialId.__dataclass_fields__)
            problem = f"unknown field {field!r}{suggestion(field, fields)}" if equals else "expected FIELD=VALUE"
            raise InputError(f"--only {condition!r}: {problem}. Choose FIELD from: {', '.join(fields)}.")
        known = list(dict.fromkeys(str(getattr(trial, field)) for trial in trials))
        if unknown := [value for value in values.split(",") if value not in known]:
            raise InputError(
                f"--only {condition!r}: no trial has {field} {unknown[0]!r}{suggestion(unknown[0], known)}. "
                f"Choose from: {', '.join(known)}"
            )
        selected = [trial for trial in selected if str(getattr(trial, field)) in values.split(",")]
    if not selected:
        raise InputError(f"--only {' '.join(only)}: no trial of the grid matches all filters. Remove a filter.")
    return selected
