"""Quick check that the weights load and that the network can be trained and exported.

Problems then appear before hours of decoding and training. The result is cached until the params, the packages, the
device or the code change.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.config.volume_model import NO_BACKBONE, VOLUME_NETWORKS
from medtune.runtime import cache_key, console, distributed
from medtune.runtime.artifact import commit, digest, find_artifact, partial_dir
from medtune.runtime.device import device_class
from medtune.runtime.paths import RunPaths
from medtune.runtime.provenance import package_versions
from medtune.runtime.source_hash import source_fingerprint
from medtune.serving.members import network_name
from medtune.tasks import base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medtune.data.manifest import PreparedDataset

PACKAGES = ("torch", "timm", "peft", "monai", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "safetensors")
# Params of a training stage that affect the check.
STAGE_KEYS = ("optimizer", "weight_decay", "clip_norm", "precision", "channels_last", "gradient_checkpointing")


def check_network(params: Params, paths: RunPaths, prepared: "PreparedDataset | None" = None) -> None:
    """Check that the weights are available and match the backbone, and that the network can be trained and exported.

    Args:
        params: all params.
        paths: where the result is cached.
        prepared: the prepared data; None if not available. With it, the size of the last batch is checked too.

    Raises:
        InputError: a check failed. The message names the param, the problem and a fix.
    """
    if params.data.has_volumes:
        check_architecture(params, prepared)
        for control in base.trained_controls(params).values():  # their training starts only after that of the model
            check_architecture(control, prepared)
    check_hub(params)
    if distributed.world_size() > 1:  # a training step would wait for the other processes
        check_architecture(params, prepared)
        return
    folder, key = _cache_entry(params, paths)
    done = find_artifact(folder, key)
    if done is None:
        name = "the decoder" if params.model.backbone == NO_BACKBONE else params.model.backbone
        console.info(f"checking that {name} can be trained and exported (once per configuration)")
        batch_of_one = _check(params)
        partial_dir(folder).mkdir(parents=True, exist_ok=True)
        done = commit(folder, key, {"stage": "dry_run", "batch_of_one": batch_of_one})
    _check_batches_of_one(params, done.result()["batch_of_one"], prepared)


def check_architecture(params: Params, prepared: "PreparedDataset | None" = None) -> None:
    """Check that the backbone, the input size and the PEFT method are compatible. No weights are loaded.

    Args:
        params: all params.
        prepared: the prepared data; None if not available. For volumes, it contains the channels and the patch size.

    Raises:
        InputError: they are not compatible, or the backbone does not exist.
    """
    if not params.data.has_volumes:
        from medtune.models.backbones import check_backbone

        check_backbone(params)
        return
    from medtune.models.segmenter_check import check_segmenter

    if prepared is None:
        check_segmenter(params, patch=getattr(params.data, "patch", None))
        return
    volumes = prepared.info["volumes"]
    check_segmenter(params, len(volumes["channels"]), volumes["patch"])


def check_hub(params: Params) -> None:
    """Check that weights from the hub are cached or can be downloaded.

    Args:
        params: all params.

    Raises:
        InputError: the weights are not available. The message names the file and where to get it.
    """
    if params.model.weights != "hub":
        return
    from medtune.models.backbones import check_name, hub_cfg
    from medtune.models.hub_access import check_access
    from medtune.models.normalization import file_hint

    check_name(params.model.backbone, params.model.weights)
    check_access(params.model.backbone, hub_cfg(params), file_hint(params))


def _check(params: Params) -> dict[str, str]:
    """Check the weights, some training steps and the export.

    Returns:
        Reason why a batch of one image cannot be trained on, by stage. Stages without this limit are omitted.
    """
    from medtune.models.weights_check import check_weights
    from medtune.stages.trial_export import trial_layout, try_export
    from medtune.training.trial_step import run_trial_steps

    check_architecture(params)
    if params.model.backbone not in (NO_BACKBONE, *VOLUME_NETWORKS):
        check_weights(params)
    result = run_trial_steps(params, trial_layout(params))
    try_export(params, result.network)
    return result.batch_of_one


def _check_batches_of_one(params: Params, reasons: "Mapping[str, str]", prepared: "PreparedDataset | None") -> None:
    """Raise InputError if a stage in `reasons` would train on a batch of one image (see `_check`)."""
    for stage, reason in reasons.items():
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


def _cache_entry(params: Params, paths: RunPaths) -> tuple[Path, str]:
    """Return folder and key of the cached result."""
    model, task, unused = params.model, params.task.kind, getattr(params.task, "EVALUATE_ONLY", ())
    stages = {
        stage: {name: value for name, value in params.section(stage).items() if name in STAGE_KEYS}
        | {"lr": params.learning_rates(stage)[0]}
        for stage in params.training_stages
    }
    key = digest(
        {
            "stage": "dry_run",
            "model": params.section("model"),
            "task": {name: value for name, value in params.section("task").items() if name not in unused},
            "stages": stages,
            "image_size": params.data.image_size,
            **({"color": getattr(params.data, "color", None)} if getattr(params.data, "is_planar", False) else {}),
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
    """Run the check for `medtune doctor` without writing to the cache.

    Stdin contains the params as JSON. Stdout receives {"fault": message}, or {"fault": null} without an error.
    """
    params, message = validate(json.load(sys.stdin)), None
    try:
        if find_artifact(*_cache_entry(params, RunPaths.from_env())) is None:
            _check_batches_of_one(params, _check(params), None)
    except InputError as error:
        message = str(error)
    print(json.dumps({"fault": message}))


if __name__ == "__main__":
    main()
