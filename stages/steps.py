"""Steps of a pipeline: order, cache keys, upstream artifacts and finished artifacts.

A step is one run of a stage, for example stage finetune for test fold 1. Its upstream artifacts are the results that it
reads. A control run trains a variant of the model for comparison, with its own steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.runtime.artifact import Artifact, digest, find_artifact
from medtune.runtime.paths import CONTROLS, RunPaths
from medtune.serving.members import REFIT, network_name
from medtune.stages.preflight import run_preflight
from medtune.stages.step_keys import evaluate_key, export_key, finetune_key, frozen_key
from medtune.tasks import base
from medtune.training.refit import RefitSettings, refit_settings

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

PER_FOLD = ("frozen", "finetune")


class StepId(NamedTuple):
    """Identity of a step: stage, test fold, and name of the control run that it belongs to."""

    stage: str
    fold: int | None
    control: str | None = None


@dataclass(frozen=True)
class Step:
    """A single run of a stage.

    Attributes:
        stage: frozen, finetune, evaluate or export.
        fold: test fold of a training stage. `REFIT` for the network that is trained on all images. None for a stage
            that runs once for all folds.
        key: cache key.
        upstream: verified artifacts that the stage reads. For finetune, this is stage 1. For evaluate, these are all
            networks. For export, these are the evaluation, followed by the networks to export.
        artifact: the verified result of an earlier run with the same key; None if the step has not run yet.
        refit: settings of a refit network; None for other networks.
        control: name of the control run that the step belongs to; None for the run of the model.
    """

    stage: str
    fold: int | None
    key: str
    upstream: tuple[Artifact, ...] = ()
    artifact: Artifact | None = None
    refit: RefitSettings | None = None
    control: str | None = None

    @property
    def name(self) -> str:
        """Name of the step: `frozen fold 1`, `frozen refit`, `control scratch finetune fold 1`, `evaluate`."""
        return step_name(self.stage, self.fold, self.control)


def step_name(stage: str, fold: int | None, control: str | None = None) -> str:
    """Return the name of a step for messages."""
    name = stage if fold is None else f"{stage} {network_name(fold)}"
    return name if control is None else f"control {control} {name}"


def step_order(params: Params) -> Iterator[StepId]:
    """Yield every step, upstream steps first."""
    for control, trained in (None, params), *base.trained_controls(params).items():
        for fold in trained.trained_networks:
            for stage in trained.training_stages:
                yield StepId(stage, fold, control)
    yield StepId("evaluate", None)
    yield StepId("export", None)


class Steps:
    """Resolver for the steps of a pipeline. It computes each key and verifies each artifact only once.

    Attributes:
        params: all params.
        paths: where the pipeline reads and writes.
        prepared: the verified prepared data.
    """

    def __init__(
        self, params: Params, paths: RunPaths, several: bool = False, prepared: "PreparedDataset | None" = None
    ) -> None:
        """Open the prepared data and check that they match the params.

        Args:
            params: all params.
            paths: where the pipeline reads and writes.
            several: True if the caller supports several processes.
            prepared: the prepared data, if they are already open and checked.

        Raises:
            InputError: a check failed (see `medtune.stages.preflight.run_preflight`).
        """
        self.params, self.paths = params, paths
        self.prepared: PreparedDataset = prepared or run_preflight(params, paths, several)
        self._resolved: dict[tuple[str, int | None], Step] = {}

    @property
    def group(self) -> str:
        """Key of the complete pipeline. It is the W&B group of all steps, including those of control runs."""
        if self.paths.group is not None:
            return self.paths.group
        selected = self.params.model_dump(mode="json", exclude={"gate", "handoff", "tracking"})
        return digest({"params": selected, "data": self.prepared.digest})

    @cached_property
    def controls(self) -> dict[str, "Steps"]:
        """Resolvers of the control runs, by name. A resolver of a control run has none."""
        if self.paths.control is not None:
            return {}
        return {
            name: Steps(params, self.paths.of_control(name, self.group), prepared=self.prepared)
            for name, params in base.trained_controls(self.params).items()
        }

    def resolver(self, step: Step) -> "Steps":
        """Return the resolver with the params and paths of a step: `self`, or the resolver of its control run."""
        return self if step.control == self.paths.control or step.control is None else self.controls[step.control]

    def order(self) -> Iterator[StepId]:
        """Yield every step, upstream steps first."""
        return step_order(self.params)

    def resolve(self, stage: str, fold: int | None = None, control: str | None = None) -> Step:
        """Resolve one step.

        Args:
            stage: frozen, finetune, evaluate or export.
            fold: test fold of a training stage, or `REFIT`. None for evaluate and export. None is also allowed if the
                params select a single test fold.
            control: name of a control run; None for the run of the model.

        Returns:
            The step, with its finished artifact if there is one.

        Raises:
            InputError: an upstream artifact is missing, or the fold is omitted although the params select several. The
                message names the fix.
            ValueError: a fold is given for a stage that runs once for all folds.
        """
        if control is not None:
            return self.controls[control].resolve(stage, fold)
        if stage in PER_FOLD:
            fold = self._only_fold(stage) if fold is None else fold
        elif fold is not None:
            raise ValueError(f"fold={fold}: {stage} runs once for all folds. Omit the fold")
        if (stage, fold) not in self._resolved:
            upstream = tuple(self._upstream(stage, fold))
            refit = self._refit_settings(stage) if fold == REFIT else None
            key = self._key(stage, fold, upstream, refit)
            found = find_artifact(self.paths.stage(stage, fold), key)
            self._resolved[stage, fold] = Step(stage, fold, key, upstream, found, refit, self.paths.control)
        return self._resolved[stage, fold]

    def record(self, step: Step, artifact: Artifact) -> None:
        """Store the artifact of a step that has run, so that later steps find it."""
        self.resolver(step)._resolved[step.stage, step.fold] = replace(step, artifact=artifact)

    def trained(self, networks: Sequence[int]) -> list[tuple[Artifact, ...]]:
        """Return the artifacts of the training stages of each network.

        Args:
            networks: test folds of the networks, or `REFIT`.

        Returns:
            Artifacts per network, in the order of training.

        Raises:
            InputError: an artifact is missing. The message names the first missing stage.
        """
        stages = self.params.training_stages
        return [tuple(self._finished(stage, network) for stage in stages) for network in networks]

    def _only_fold(self, stage: str) -> int:
        """Return the test fold of the params. Raise InputError if the params select several."""
        folds = self.params.data.split.test_folds
        if len(folds) > 1:
            raise InputError(f"data.split.test_fold=all: {stage} trains one fold. Name it, 0 to {len(folds) - 1}")
        return folds[0]

    def _upstream(self, stage: str, fold: int | None) -> Iterator[Artifact]:
        """Yield the upstream artifacts in the order of `Step.upstream`."""
        if stage == "finetune" and self.params.schedule != "full":
            yield self._finished("frozen", fold)
        if stage == "export":
            yield self._finished("evaluate", None)
        if stage in ("evaluate", "export"):
            exported_only = stage == "export" and self.params.final == "refit"
            networks = [REFIT] if exported_only else self.params.trained_networks
            yield from (artifacts[-1] for artifacts in self.trained(networks))

    def _refit_settings(self, stage: str) -> RefitSettings:
        return refit_settings([self._finished(stage, fold).result() for fold in self.params.data.split.trained_folds])

    def _finished(self, stage: str, fold: int | None) -> Artifact:
        """Return the artifact of a step. Raise InputError with the command to run if the step has not run yet."""
        step = self.resolve(stage, fold)
        if step.artifact is None:
            folder, control = self.paths.stage(stage, fold), self.paths.control
            name = f"artifacts/{stage}" if fold is None else f"artifacts/{stage}/{folder.name}"
            if control is not None:
                name = name.replace("artifacts", f"artifacts/{CONTROLS}/{control}", 1)
                raise InputError(
                    f"{name}: no finished result for these params. Run `medtune stage {stage} --control {control}` "
                    f"with the same params first, or remove {control} from task.{CONTROLS}"
                )
            command = f"medtune stage {stage}" if stage in PER_FOLD else f"medtune {stage}"
            raise InputError(f"{name}: no finished result for these params. Run `{command}` with the same params first")
        return step.artifact

    def _key(self, stage: str, fold: int | None, upstream: Sequence[Artifact], refit: RefitSettings | None) -> str:
        params, prepared = self.params, self.prepared
        if stage == "frozen":
            assert fold is not None
            return frozen_key(params, prepared, fold, refit)
        if stage == "finetune":
            assert fold is not None
            return finetune_key(params, prepared, fold, upstream[0] if upstream else None, refit)
        if stage == "evaluate":
            controls = {
                name: [artifacts[-1] for artifacts in steps.trained(steps.params.trained_networks)]
                for name, steps in self.controls.items()
            }
            return evaluate_key(params, prepared, upstream, controls)
        if stage == "export":
            return export_key(params, upstream[0], upstream[1:])
        raise ValueError(f"unknown stage {stage!r}")
