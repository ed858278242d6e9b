"""Cache keys of the steps of a pipeline, computed from the params, the prepared data and upstream artifacts.

A step is one run of a stage. Its upstream artifacts are the results that it reads.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.runtime import cache_key
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_class
from medtune.runtime.provenance import package_versions
from medtune.training.refit import RefitSettings

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# The libraries that write and run an exported network.
EXPORT_TOOLS = ("onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow", "jinja2")


def frozen_key(params: Params, prepared: "PreparedDataset", fold: int, refit: RefitSettings | None = None) -> str:
    """Return the cache key of stage 1 for a test fold. `refit` is None except for a network trained on all images."""
    inputs = _training_inputs(prepared, fold, refit)
    return cache_key.stage_key("frozen", params, inputs, device_class())


def finetune_key(
    params: Params,
    prepared: "PreparedDataset",
    fold: int,
    frozen: Artifact | None,
    refit: RefitSettings | None = None,
) -> str:
    """Return the cache key of stage 2 for a test fold.

    Args:
        params: all params.
        prepared: the prepared data.
        fold: the test fold.
        frozen: artifact of stage 1; None if `schedule=full`.
        refit: settings of a network that is trained on all images; None for other networks.
    """
    inputs = _training_inputs(prepared, fold, refit) | {"frozen": frozen and frozen.sha256}
    return cache_key.stage_key("finetune", params, inputs, device_class())


def _training_inputs(prepared: "PreparedDataset", fold: int, refit: RefitSettings | None) -> dict[str, Any]:
    settings = {"refit": refit.as_dict()} if refit else {}
    return {"data": prepared.digest, "roles": prepared.split_digest(fold), **settings}


def evaluate_key(
    params: Params,
    prepared: "PreparedDataset",
    trained: Sequence[Artifact],
    controls: Mapping[str, Sequence[Artifact]] | None = None,
) -> str:
    """Return the cache key of stage evaluate.

    Args:
        params: all params.
        prepared: the prepared data.
        trained: artifacts of the networks, one per fold.
        controls: artifacts of the networks, by name of the control run. A control run trains a variant of the model.

    Returns:
        The key.
    """
    inputs: dict[str, Any] = {
        "data": prepared.digest,
        "facts": prepared.info,  # the report contains the protocol, leaks and notes
        "trained": [[artifact.key, artifact.sha256] for artifact in trained],
        "roles": [prepared.split_digest(int(artifact.result()["fold"])) for artifact in trained],
        "test_folds": params.data.split.test_folds,
    }
    if controls:
        inputs["controls"] = {
            name: [[artifact.key, artifact.sha256] for artifact in networks] for name, networks in controls.items()
        }
    if params.evaluate.by:
        from medtune.evaluation.subgroup_result import prepared_columns

        columns = prepared_columns(prepared, params.evaluate)
        inputs["subgroups"] = [[column.name, column.order, column.values.tolist()] for column in columns]
    return cache_key.stage_key("evaluate", params, inputs, device_class())


def export_key(params: Params, evaluated: Artifact, trained: Sequence[Artifact]) -> str:
    """Return the cache key of stage export. It does not depend on the device, because export runs on the CPU."""
    inputs = {
        "evaluated": [evaluated.key, evaluated.sha256],
        "trained": [artifact.sha256 for artifact in trained],
        "tools": package_versions(*EXPORT_TOOLS),
    }
    return cache_key.stage_key("export", params, inputs, "cpu")
