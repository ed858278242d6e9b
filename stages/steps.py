"""The steps of one pipeline: their order, cache keys, upstream artifacts and finished artifacts."""

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
    """One run of one stage.

    Attributes:
        stage: frozen, finetune, evaluate or export.
        fold: test fold that the stage trains for; `REFIT` for the network that is trained on all images; None for a
            stage that runs once for all folds.
        key: cache key.
        upstream: verified artifacts that the stage reads: stage 1 for finetune, the networks of all test folds and
            the refit one for evaluate, and for export the evaluation followed by the networks that it exports.
        artifact: the verified result of an earlier run with the same key, or None.
        refit: settings of a refit network; None for others.
    """

    stage: str
    fold: int | None
    key: str
    upstream: tuple[Artifact, ...] = ()
    artifact: Artifact | None = None
    refit: RefitSettings | None = None

    @property
    def name(self) -> str:
        """`frozen fold 1`, `frozen refit`, `evaluate`."""
        return step_name(self.stage, self.fold)


def step_name(stage: str, fold: int | None) -> str:
    """Name of a step for people."""
    return stage if fold is None else f"{stage} {network_name(fold)}"


def step_order(params: Params) -> Iterator[tuple[str, int | None]]:
    """Yield stage and test fold of every step, upstream steps first."""
    for fold in params.trained_networks:
        for stage in params.training_stages:
            yield stage, fold
    yield "evaluate", None
    yield "export", None


class Steps:
    """Resolves the steps of one pipeline. Each key is computed and each artifact verified once.

    Attributes:
        params: all params.
        paths: where the pipeline reads and writes.
        prepared: the verified data.
    """

    def __init__(self, params: Params, paths: RunPaths, several: bool = False) -> None:
        """Open the prepared data and check that the params fit it.

        Args:
            params: all params.
            paths: where the pipeline reads and writes.
            several: True if the caller can run as several processes.

        Raises:
            InputError: as `medtune.stages.preflight.run_preflight` says.
        """
        self.params, self.paths = params, paths
        self.prepared: PreparedDataset = run_preflight(params, paths, several)
        self._resolved: dict[tuple[str, int | None], Step] = {}

    @property
    def group(self) -> str:
        """Key of the whole pipeline: the W&B group of its stages."""
        selected = self.params.model_dump(mode="json", exclude={"gate", "handoff", "tracking"})
        return digest({"params": selected, "data": self.prepared.digest})

    def order(self) -> Iterator[tuple[str, int | None]]:
        """Yield stage and test fold of every step, upstream steps first."""
        return step_order(self.params)

    def resolve(self, stage: str, fold: int | None = None) -> Step:
        """Return one step, with its finished artifact if there is one.

        Args:
            stage: frozen, finetune, evaluate or export.
            fold: test fold of a training stage; None is the one that the params name.

        Raises:
            InputError: an upstream artifact is missing; names the command to run first. Or there are several folds.
        """
        if stage in PER_FOLD:
            fold = self._only_fold(stage) if fold is None else fold
        elif fold is not None:
            raise ValueError(f"fold={fold}: {stage} runs once for all folds. Leave it out")
        if (stage, fold) not in self._resolved:
            upstream = tuple(self._upstream(stage, fold))
            refit = self._refit_settings(stage) if fold == REFIT else None
            key = self._key(stage, fold, upstream, refit)
            self._resolved[stage, fold] = Step(
                stage, fold, key, upstream, find_artifact(self.paths.stage(stage, fold), key), refit
            )
        return self._resolved[stage, fold]

    def record(self, step: Step, artifact: Artifact) -> None:
        """Make the artifact that a run of `step` returned the upstream of later steps."""
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
                for trained in self.params.training_stages:  # the first missing one is named
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
        raise ValueError(f"no stage {stage!r}")


def frozen_key(params: Params, prepared: "PreparedDataset", fold: int, refit: RefitSettings | None = None) -> str:
    """Return the cache key of stage 1 for the test fold `fold`; `refit`: settings of the network on all images."""
    inputs = _training_inputs(prepared, fold, refit)
    return cache_key.stage_key("frozen", params, inputs, device_class())


def finetune_key(
    params: Params,
    prepared: "PreparedDataset",
    fold: int,
    frozen: Artifact | None,
    refit: RefitSettings | None = None,
) -> str:
    """Return the cache key of stage 2; `frozen` is stage 1's artifact, None with schedule `full`."""
    inputs = _training_inputs(prepared, fold, refit) | {"frozen": frozen and frozen.sha256}
    return cache_key.stage_key("finetune", params, inputs, device_class())


def _training_inputs(prepared: "PreparedDataset", fold: int, refit: RefitSettings | None) -> dict[str, Any]:
    settings = {"refit": refit.as_dict()} if refit else {}
    return {"data": prepared.digest, "roles": prepared.split_digest(fold), **settings}


def evaluate_key(params: Params, prepared: "PreparedDataset", trained: Sequence[Artifact]) -> str:
    """Return the cache key of evaluating `trained`, one artifact per fold."""
    inputs: dict[str, Any] = {
        "data": prepared.digest,
        "facts": prepared.info,  # protocol, leaks and notes are printed in the report
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
    """Return the cache key of the bundle; export runs on the CPU, whatever trained the network."""
    inputs = {
        "evaluated": [evaluated.key, evaluated.sha256],
        "trained": [artifact.sha256 for artifact in trained],
        "tools": package_versions(*EXPORT_TOOLS),
    }
    return cache_key.stage_key("export", params, inputs, "cpu")
