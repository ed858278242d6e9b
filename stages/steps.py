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
from medtune.stages.preflight import run_preflight

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
        fold: test fold that the stage trains for; None for a stage that runs once for all folds.
        key: cache key.
        upstream: verified artifacts that the stage reads: stage 1 for finetune, the trained fold of every test fold
            for evaluate, and for export the evaluation followed by the trained folds.
        artifact: the verified result of an earlier run with the same key, or None.
    """

    stage: str
    fold: int | None
    key: str
    upstream: tuple[Artifact, ...] = ()
    artifact: Artifact | None = None

    @property
    def name(self) -> str:
        """`frozen fold 1`, `evaluate`."""
        return self.stage if self.fold is None else f"{self.stage} fold {self.fold}"


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
        for fold in self.params.data.split.trained_folds:
            for stage in self.params.training_stages:
                yield stage, fold
        yield "evaluate", None
        yield "export", None

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
            key = self._key(stage, fold, upstream)
            self._resolved[stage, fold] = Step(
                stage, fold, key, upstream, find_artifact(self.paths.stage(stage, fold), key)
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
            for test_fold in self.params.data.split.trained_folds:
                for trained in self.params.training_stages:  # the first missing one is named
                    artifact = self._finished(trained, test_fold)
                yield artifact

    def _finished(self, stage: str, fold: int | None) -> Artifact:
        step = self.resolve(stage, fold)
        if step.artifact is None:
            name = f"artifacts/{stage}" if fold is None else f"artifacts/{stage}/fold-{fold}"
            command = f"medtune stage {stage}" if stage in PER_FOLD else f"medtune {stage}"
            raise InputError(f"{name}: not finished with these params. Run `{command}` first")
        return step.artifact

    def _key(self, stage: str, fold: int | None, upstream: Sequence[Artifact]) -> str:
        params, prepared = self.params, self.prepared
        if stage == "frozen":
            assert fold is not None
            return frozen_key(params, prepared, fold)
        if stage == "finetune":
            assert fold is not None
            return finetune_key(params, prepared, fold, upstream[0] if upstream else None)
        if stage == "evaluate":
            return evaluate_key(params, prepared, upstream)
        if stage == "export":
            return export_key(params, upstream[0], upstream[1:])
        raise ValueError(f"no stage {stage!r}")


def frozen_key(params: Params, prepared: "PreparedDataset", fold: int) -> str:
    """Return the cache key of stage 1 for the test fold `fold`."""
    inputs = {"data": prepared.digest, "roles": prepared.split_digest(fold)}
    return cache_key.stage_key("frozen", params, inputs, device_class())


def finetune_key(params: Params, prepared: "PreparedDataset", fold: int, frozen: Artifact | None) -> str:
    """Return the cache key of stage 2; `frozen` is stage 1's artifact, None with schedule `full`."""
    inputs = {"data": prepared.digest, "roles": prepared.split_digest(fold), "frozen": frozen and frozen.sha256}
    return cache_key.stage_key("finetune", params, inputs, device_class())


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
