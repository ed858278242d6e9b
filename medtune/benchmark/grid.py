"""benchmark.yaml: the grid of the benchmark, and the params that all its trials share.

The file is an overlay on params.yaml with a section `benchmark` more. Reading it imports neither torch nor prefect.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from medtune.config import registry
from medtune.config.base import BaseParams, StrictParams
from medtune.config.errors import InputError, suggestion
from medtune.config.load import apply_overrides, merge, read, read_base
from medtune.config.project import PROJECT
from medtune.config.schema import DEFAULT_TASK, Positive, check_metric
from medtune.config.training import Schedule
from medtune.config.validation_errors import format_validation_error

GRID_FILE = PROJECT / "benchmark.yaml"
HEADS, METHODS = "medtune.models.heads", "medtune.models.peft"
BASELINES = ("linear", "cdtm", "full")
COMBINED = ("cdtm+full", "cdtm+lora")  # stage 1 trains the head, stage 2 goes on from there
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.+-]*$")]


@dataclass(frozen=True, order=True)
class TrialId:
    """One trial of the grid: which data, backbone, method, share of the training patients, and seed."""

    data: str
    backbone: str
    method: str
    percent: int
    seed: int

    @property
    def name(self) -> str:
        """For people: `synthetic test_vit lora 10 % seed 1`."""
        return f"{self.data} {self.backbone} {self.method} {self.percent} % seed {self.seed}"

    @property
    def slug(self) -> str:
        """For folders: `synthetic-test_vit-lora-10pc-seed1`."""
        return f"{self.data}-{self.backbone}-{self.method}-{self.percent}pc-seed{self.seed}"


class LocalRunner(BaseParams):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    workers: Annotated[int, Field(gt=0, strict=True)] | None = Field(
        None, description="processes; null: as many as cores over threads"
    )


class DaskRunner(BaseParams):
    """A Dask cluster whose workers see this checkout, its .cache and its artifacts under the same paths."""

    kind: Literal["dask"]
    address: str = Field(description="of the scheduler, tcp://HOST:8786")

    @field_validator("address")
    @classmethod
    def _names_a_scheduler(cls, address: str) -> str:
        if not address.startswith(("tcp://", "tls://", "ucx://")):
            raise ValueError(f"address is {address!r}: give the scheduler's, like tcp://HOST:8786")
        return address


class BenchmarkParams(StrictParams):
    """What is crossed with what, and how a trial is trained and judged."""

    REMOVED: ClassVar[dict[str, str]] = {"benchmark.replicates": "removed, intervals need no resampling. Remove it."}

    data: Annotated[dict[Label, dict[str, Any]], Field(min_length=1)] = Field(description="label -> section data")
    backbones: Annotated[dict[Label, dict[str, Any]], Field(min_length=1)] = Field(description="label -> section model")
    methods: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    percent: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)] = Field(
        [10, 100], description="shares of the training patients, each within the next"
    )
    validation: Literal["share", "whole"] = Field(
        "share", description="validation patients: the same share as of the training patients, or all of them"
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field([1])
    lr: dict[str, Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]] = Field(
        default_factory=dict, description="method -> rates to choose from on validation; else the method's own LR_GRID"
    )
    head: str = Field("linear", description="what PEFT methods and full fine-tuning are trained with")
    metric: str = Field("balanced_accuracy", description="metric of the task that methods are compared by")
    min_steps: Annotated[int, Field(ge=0)] = Field(
        60, description="small shares are gone over more often, until a training has so many optimizer steps"
    )
    threads: Positive = Field(
        1, description="CPU threads a trial may use; decides the last digits, so it is in the key"
    )
    retries: Annotated[int, Field(ge=0, le=5)] = Field(1, description="times a crashed trial is tried again")
    runner: LocalRunner | DaskRunner = Field(LocalRunner(), discriminator="kind")

    @model_validator(mode="after")
    def _each_once(self) -> "BenchmarkParams":
        for name in ("methods", "percent", "seeds"):
            values = getattr(self, name)
            if values != "all" and len(set(values)) < len(values):
                raise ValueError(f"{name} names {next(v for v in values if values.count(v) > 1)!r} twice")
        return self

    @property
    def workers(self) -> int:
        """Processes of a local runner."""
        wanted = self.runner.workers if isinstance(self.runner, LocalRunner) else None
        return wanted or max(1, len(os.sched_getaffinity(0)) // self.threads)


@dataclass(frozen=True)
class MethodSpec:
    """What a benchmark method means: which stages are run, with which head and what stage 2 trains."""

    schedule: Schedule
    head: str
    peft: str


def parse_method(method: str, head: str, key: str = "benchmark.methods") -> MethodSpec:
    """`linear`: that head on the frozen backbone; `lora`, `full`: stage 2 with `head`; `cdtm+lora`: both stages.

    Args:
        method: as in the grid.
        head: what PEFT methods are trained with.
        key: where the method is named, for the error message.

    Raises:
        InputError: no such head or method.
    """
    heads, methods = registry.plugin_names(HEADS), [name for name in registry.plugin_names(METHODS) if name != "none"]
    first, plus, second = method.partition("+")
    if not plus and first in heads:
        return MethodSpec("frozen", first, "none")
    chosen = second if plus else first
    if (plus and first not in heads) or (chosen != "full" and chosen not in methods):
        known = [*heads, "full", *methods]
        raise InputError(
            f"{key}: {method!r} is unknown{suggestion(method, known)}; choose heads ({', '.join(heads)}), "
            f"full, PEFT methods (docs/methods.md), or HEAD+METHOD for both stages"
        )
    peft = "none" if chosen == "full" else chosen
    return MethodSpec("staged", first, peft) if plus else MethodSpec("full", head, peft)


def all_methods() -> list[str]:
    """What `methods: all` stands for, baselines first."""
    return [*BASELINES, *(name for name in registry.plugin_names(METHODS) if name != "none"), *COMBINED]


def load_grid(path: Path | None = None, sets: Sequence[str] = ()) -> tuple[BenchmarkParams, dict[str, Any]]:
    """The grid, and the params tree that its trials share.

    Args:
        path: a grid file; None: the checkout's benchmark.yaml.
        sets: `section.key=value`, as for params.yaml; `benchmark.*` too.

    Raises:
        InputError: names the key, its value and what is allowed.
    """
    tree = read_base(with_overlay=path is not None)
    merge(tree, read(path or GRID_FILE))
    apply_overrides(tree, sets)
    if not isinstance(section := tree.pop("benchmark", None), dict):
        raise InputError(f"{path or GRID_FILE}: no section benchmark in it")
    try:
        grid = BenchmarkParams.model_validate(section)
    except ValidationError as error:
        raise InputError(format_validation_error(error, BenchmarkParams, "benchmark")) from None
    task = tree.get("task") or {}
    kind = task.get("kind", DEFAULT_TASK) if isinstance(task, dict) else task
    metrics = registry.load_part("medtune.tasks", kind, "metrics", "task.kind").METRICS
    check_metric("benchmark.metric", grid.metric, [one.name for one in metrics if one.direction != "target"])
    for method in grid.lr:  # misspelt, its rates would be passed over without a word
        parse_method(method, grid.head, "benchmark.lr")
    return grid, tree


def filter_trials(trials: Sequence[TrialId], only: Sequence[str]) -> list[TrialId]:
    """The trials that `--only field=value[,value]` leaves; several fields must all hold.

    Raises:
        InputError: no such field, or nothing is left.
    """
    left = list(trials)
    for wish in only:
        field, equals, values = wish.partition("=")
        if not equals or field not in TrialId.__dataclass_fields__:
            fields = ", ".join(TrialId.__dataclass_fields__)
            raise InputError(f"--only {wish!r}: write FIELD=VALUE, FIELD one of {fields}")
        known = {str(getattr(trial, field)) for trial in trials}
        if unknown := [value for value in values.split(",") if value not in known]:
            raise InputError(
                f"--only {wish!r}: no trial has {field} {unknown[0]!r}{suggestion(unknown[0], sorted(known))}"
            )
        left = [trial for trial in left if str(getattr(trial, field)) in values.split(",")]
    if not left:
        raise InputError(f"--only {' '.join(only)}: no trial of the grid is all of that")
    return left
