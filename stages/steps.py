"""Steps of a pipeline: order, cache keys, upstream artifacts and finished artifacts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.runtime import cache_key
from medtune.runtime.artifact import Artifact, digest, find_artifact
from medtune.runtime.device import device_class
from medtune.runtime.paths import RunPaths
from medtune.runtime.provenance import package_versions
from medtune.serving.members import REFIT, network_name
from medtune.stages.preflight import run_preflight
from medtune.training.refit import RefitSettings, refit_settings

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

PER_FOLD = ("frozen", "finetune")
# The libraries that write and run an exported network.
EXPORT_TOOLS = ("onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow", "jinja2")


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
        artifact: the verified result of an earlier run with the same key, or None.
        refit: settings of a refit network; None for other networks.
    """

    stage: str
    fold: int | None
    key: str
    upstream: tuple[Artifact, ...] = ()
    artifact: Artifact | None = None
    refit: RefitSettings | None = None

    @property
    def name(self) -> str:
        """Name of the step: `frozen fold 1`, `frozen refit`, `evaluate`."""
        return step_name(self.stage, self.fold)


def step_name(stage: str, fold: int | None) -> str:
    """Return the name of a step for messages."""
    return stage if fold is None else f"{stage} {network_name(fold)}"


def step_order(params: Params) -> Iterator[tuple[str, int | None]]:
    """Yield stage and test fold of every step, upstream steps first."""
    for fold in params.trained_networks:
        for stage in params.training_stages:
            yield stage, fold
    yield "evaluate", None
    yield "export", None


class Steps:
    """Resolver for the steps of a pipeline, which computes each key and verifies each artifact only once.

    Attributes:
        params: all params.
        paths: where the pipeline reads and writes.
        prepared: the verified prepared data.
    """

    def __init__(self, params: Params, paths: RunPaths, several: bool = False) -> None:
        """Open the prepared data and check that they match the params.

        Args:
            params: all params.
            paths: where the pipeline reads and writes.
            several: True if the caller supports several processes.

        Raises:
            InputError: a check failed (see `medtune.stages.preflight.run_preflight`).
        """
        self.params, self.paths = params, paths
        self.prepared: PreparedDataset = run_preflight(params, paths, several)
        self._resolved: dict[tuple[str, int | None], Step] = {}

    @property
    def group(self) -> str:
        """Key of the complete pipeline, which is the W&B group of its stages."""
        selected = self.params.model_dump(mode="json", exclude={"gate", "handoff", "tracking"})
        return digest({"params": selected, "data": self.prepared.digest})

    def order(self) -> Iterator[tuple[str, int | None]]:
        """Yield stage and test fold of every step, upstream steps first."""
        return step_order(self.params)

    def resolve(self, stage: str, fold: int | None = None) -> Step:
        """Resolve one step.

        Args:
            stage: frozen, finetune, evaluate or export.
            fold: test fold of a training stage, or `REFIT`. It may be omitted if the params select a single fold, and
                must be omitted for evaluate and export.

        Returns:
            The step, with its finished artifact if there is one.

        Raises:
            InputError: an upstream artifact is missing, or the fold is omitted although the params select several. The
                message names the fix.
            ValueError: a fold is given for a stage that runs once for all folds.
        """
        if stage in PER_FOLD:
            fold = self._only_fold(stage) if fold is None else fold
        elif fold is not None:
            raise ValueError(f"fold={fold}: {stage} runs once for all folds. Omit the fold")
        if (stage, fold) not in self._resolved:
            upstream = tuple(self._upstream(stage, fold))
            refit = self._refit_settings(stage) if fold == REFIT else None
            key = self._key(stage, fold, upstream, refit)
            self._resolved[stage, fold] = Step(
                stage, fold, key, upstream, find_artifact(self.paths.stage(stage, fold), key), refit
            )
        return self._resolved[stage, fold]

    def record(self, step: Step, artifact: Artifact) -> None:
        """Store the artifact of a step that has run, as upstream of later steps."""
        self._resolved[step.stage, step.fold] = replace(step, artifact=artifact)

    def _only_fold(self, stage: str) -> int:
        folds = self.params.data.split.test_folds
        if len(folds) > 1:
            raise InputError(f"data.split.test_fold=all: {stage} trains one fold. Name it, 0 to {len(folds) - 1}")
        return folds[0]

    def _upstream(self, stage: str, fold: int | None) -> Iterator[Artifact]:
        if stage == "finetune" and self.params.schedule != "full":
            yield self._finished("frozen", fold)
        if stage == "export":
            yield self._finished("evaluate", None)
        if stage in ("evaluate", "export"):
            exported_only = stage == "export" and self.params.final == "refit"
            for network in [REFIT] if exported_only else self.params.trained_networks:
                for trained in self.params.training_stages:  # the error must name the first missing stage
                    artifact = self._finished(trained, network)
                yield artifact

    def _refit_settings(self, stage: str) -> RefitSettings:
        return refit_settings([self._finished(stage, fold).result() for fold in self.params.data.split.trained_folds])

    def _finished(self, stage: str, fold: int | None) -> Artifact:
        step = self.resolve(stage, fold)
        if step.artifact is None:
            folder = self.paths.stage(stage, fold)
            name = f"artifacts/{stage}" if fold is None else f"artifacts/{stage}/{folder.name}"
            command = f"medtune stage {stage}" if stage in PER_FOLD else f"medtune {stage}"
            raise InputError(f"{name}: not finished with these params. Run `{command}` first")
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
            return evaluate_key(params, prepared, upstream)
        if stage == "export":
            return export_key(params, upstream[0], upstream[1:])
        raise ValueError(f"unknown stage {stage!r}")


def frozen_key(params: Params, prepared: "PreparedDataset", fold: int, refit: RefitSettings | None = None) -> str:
    """Return the cache key of stage 1 for a test fold. A refit network has the settings `refit`."""
    inputs = _training_inputs(prepared, fold, refit)
    return cache_key.stage_key("frozen", params, inputs, device_class())


def finetune_key(
    params: Params,
    prepared: "PreparedDataset",
    fold: int,
    frozen: Artifact | None,
    refit: RefitSettings | None = None,
) -> str:
    """Return the cache key of stage 2. `frozen` is the artifact of stage 1, or None with `schedule=full`."""
    inputs = _training_inputs(prepared, fold, refit) | {"frozen": frozen and frozen.sha256}
    return cache_key.stage_key("finetune", params, inputs, device_class())


def _training_inputs(prepared: "PreparedDataset", fold: int, refit: RefitSettings | None) -> dict[str, Any]:
    settings = {"refit": refit.as_dict()} if refit else {}
    return {"data": prepared.digest, "roles": prepared.split_digest(fold), **settings}


def evaluate_key(params: Params, prepared: "PreparedDataset", trained: Sequence[Artifact]) -> str:
    """Return the cache key of stage evaluate. `trained` are the artifacts of the networks, one per fold."""
    inputs: dict[str, Any] = {
        "data": prepared.digest,
        "facts": prepared.info,  # the report contains the protocol, leaks and notes
        "trained": [[artifact.key, artifact.sha256] for artifact in trained],
        "roles": [prepared.split_digest(int(artifact.result()["fold"])) for artifact in trained],
        "test_folds": params.data.split.test_folds,
    }
    if params.evaluate.by:
        from medtune.evaluation.subgroup_result import prepared_columns

        columns = prepared_columns(prepared, params.evaluate)
        inputs["subgroups"] = [[column.name, column.order, column.values.tolist()] for column in columns]
    return cache_key.stage_key("evaluate", params, inputs, device_class())


def export_key(params: Params, evaluated: Artifact, trained: Sequence[Artifact]) -> str:
    """Return the cache key of stage export, which always runs on the CPU."""
    inputs = {
        "evaluated": [evaluated.key, evaluated.sha256],
        "trained": [artifact.sha256 for artifact in trained],
        "tools": package_versions(*EXPORT_TOOLS),
    }
    return cache_key.stage_key("export", params, inputs, "cpu")
