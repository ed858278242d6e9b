"""What would fail only after hours, tried in seconds before data are decoded: weights, training steps and export.

The outcome is kept in the cache, so that it costs nothing until the network, the packages or the code change.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.runtime import cache_key, console, distributed
from medtune.runtime.artifact import commit, digest, find_artifact, partial_dir
from medtune.runtime.device import device_class
from medtune.runtime.paths import RunPaths
from medtune.runtime.provenance import package_versions
from medtune.runtime.source_hash import source_fingerprint
from medtune.serving.members import network_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier

PACKAGES = ("torch", "timm", "peft", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "safetensors")
# Of a training stage, what a trial depends on.
STAGE_KEYS = ("optimizer", "weight_decay", "clip_norm", "precision", "channels_last", "gradient_checkpointing")
N_OUTPUTS = 3
# Larger graphs are exported, but not opened: their random weights would take the memory twice.
MAX_OPENED_BYTES = 500_000_000


def check_network(params: Params, paths: RunPaths, prepared: "PreparedDataset | None" = None) -> None:
    """Refuse weights that cannot be had or do not fit, and a network that cannot be trained or exported.

    Args:
        params: all params.
        paths: where the outcome is kept.
        prepared: the data, if they are prepared: their sizes say whether a batch of one image occurs.

    Raises:
        InputError: names the key, what failed, and what to change.
    """
    check_hub(params)
    if distributed.world_size() > 1:  # a trial in one of several processes would wait for the others
        from medtune.models.backbones import check_backbone

        check_backbone(params)
        return
    folder, key = _place(params, paths)
    done = find_artifact(folder, key)
    if done is None:
        console.info(f"checking that {params.model.backbone} can be trained and exported (once per configuration)")
        batch_of_one = _try(params)
        partial_dir(folder).mkdir(parents=True, exist_ok=True)
        done = commit(folder, key, {"stage": "dry_run", "batch_of_one": batch_of_one})
    _check_batches_of_one(params, done.result()["batch_of_one"], prepared)


def check_hub(params: Params) -> None:
    """Refuse weights from the hub that are neither in its cache nor to be had.

    Raises:
        InputError: names the file, where to get it, and how to use it.
    """
    if params.model.weights != "hub":
        return
    from medtune.models.backbones import check_name, hub_cfg
    from medtune.models.hub_access import check_access
    from medtune.models.normalization import file_hint

    check_name(params.model.backbone, params.model.weights)
    check_access(params.model.backbone, hub_cfg(params), file_hint(params))


def _try(params: Params) -> dict[str, str]:
    """Try weights files, training steps and export; return why stages cannot train on one image."""
    import torch

    from medtune.models.backbones import check_backbone, create_backbone
    from medtune.models.normalization import check_normalization
    from medtune.models.weights import load_into, read_weights

    model = params.model
    check_backbone(params)
    if model.weights not in ("hub", "none"):
        with torch.device("meta"):
            backbone = create_backbone(params, load_weights=False)
        with warnings.catch_warnings():
            # The keys and shapes are compared; values have no place in a network without memory, and torch says so.
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
            load_into(backbone, *read_weights(model.weights, model.backbone))
        check_normalization(params)
    from medtune.training.trial_step import run_trial_steps

    result = run_trial_steps(params, N_OUTPUTS)
    try_export(params, result.network)
    return result.batch_of_one


def try_export(params: Params, network: "Classifier") -> bytes:
    """Export a network as the export stage does, open the graph and run it on several batch sizes.

    Args:
        params: all params.
        network: in eval mode, on the CPU.

    Returns:
        The graph; empty if it is too large to be opened here.

    Raises:
        InputError: names the backbone and the operator that has no ONNX counterpart.
    """
    import numpy as np

    from medtune.export.ensemble import Ensemble, Member
    from medtune.export.onnx_file import weight_bytes
    from medtune.export.onnx_graph import ExportError, to_onnx
    from medtune.export.precisions import predictor
    from medtune.serving.manifest import BundleError
    from medtune.tasks import base

    name, side = params.model.backbone, params.data.image_size
    task = base.export(params.task.kind)
    fold: Mapping[str, float] = getattr(task, "EXAMPLE_FOLD", {})
    try:
        model = Ensemble([Member(network, task.output_layer(fold))], "output")
        graph = to_onnx(model, side, params.export.opset, {}, model.names)
        if weight_bytes(graph) > MAX_OPENED_BYTES:
            return b""
        content = graph.SerializeToString()
        predict = predictor(content, busy_wait=False)
        for count in (1, 3):
            if len(predict(np.zeros((count, side, side, 3), np.uint8))) != count:
                raise ExportError("the exported graph does not take any number of images")
        return content
    except ExportError as error:
        raise InputError(f"model.backbone={name}: {error}. Choose another backbone") from error
    except BundleError as error:
        raise InputError(f"model.backbone={name}: onnxruntime refuses its graph: {error}. Choose another") from error


def _check_batches_of_one(params: Params, found: "Mapping[str, str]", prepared: "PreparedDataset | None") -> None:
    for stage, reason in found.items():
        section = getattr(params, stage)
        size = section.batch_size
        if size == 1:
            raise InputError(f"{stage}.batch_size=1: the network cannot train on one image ({reason}). Use 2 or more")
        for fold in params.trained_networks if prepared is not None else ():
            assert prepared is not None
            images = len(prepared.indices(fold)["train"])
            images *= section.repeats_for(images)
            if images % size == 1:
                raise InputError(
                    f"{stage}.batch_size={size}: the last batch of {network_name(fold)} has 1 of {images} images, and "
                    f"the network cannot train on one ({reason}). Use {stage}.batch_size={size + 1} or "
                    "model.batchnorm=frozen"
                )


def _place(params: Params, paths: RunPaths) -> tuple[Path, str]:
    model, task = params.model, params.task.kind
    stages = {
        stage: {name: value for name, value in params.section(stage).items() if name in STAGE_KEYS}
        | {"lr": params.learning_rates(stage)[0]}
        for stage in params.training_stages
    }
    key = digest(
        {
            "stage": "dry_run",
            "model": params.section("model"),
            "task": params.section("task"),
            "stages": stages,
            "image_size": params.data.image_size,
            "opset": params.export.opset,
            "weights": cache_key.weights_sha256(params),
            "versions": package_versions(*PACKAGES),
            "source": source_fingerprint(
                "medtune.stages.dry_run",
                f"medtune.models.heads.{model.head.kind}",
                f"medtune.models.peft.{model.peft.method}",
                f"medtune.tasks.{task}.training",
                f"medtune.tasks.{task}.export",
            ),
            "device": device_class(),
        }
    )
    return paths.cache / "dry_run" / key[:32], key


def main() -> None:
    """Answer medtune.doctor, which leaves nothing behind.

    Params come as JSON on stdin, the error (or null) goes as JSON to stdout.
    """
    params, fault = validate(json.load(sys.stdin)), None
    try:
        if find_artifact(*_place(params, RunPaths.from_env())) is None:
            _check_batches_of_one(params, _try(params), None)
    except InputError as error:
        fault = str(error)
    print(json.dumps({"fault": fault}))


if __name__ == "__main__":
    main()
