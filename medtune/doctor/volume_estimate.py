"""Estimates of the disk space and time of a run with volumes, from its params and measured training steps.

A patch is the part of a volume that the network processes at once. A window is a patch in prediction. This module does
not import torch.
"""

from collections.abc import Mapping
from typing import Any

from medtune.config.schema import Params
from medtune.data.wording import wording_of_params
from medtune.doctor import estimate
from medtune.doctor.check_result import CheckResult, Context, format_duration, ok, warning
from medtune.doctor.subprocess_check import CheckError
from medtune.doctor.volumes import VolumeSizes, with_patch
from medtune.serving.one_line import first_line
from medtune.serving.volumes.geometry import format_shape
from medtune.tasks import base

PROFILE_TIMEOUT_S = 240.0
# Bytes per voxel of a volume for a compressed label map and its uncertainty.
LABEL_MAP_BYTES = 0.1


def check_estimate(context: Context) -> list[CheckResult]:
    """Return two lines: the estimates of disk space and time."""
    try:
        return [_disk_estimate(context), _time_estimate(context)]
    finally:
        context.questions.close()  # otherwise `check_memory` would count the memory of these processes as used


def disk_requirements(params: Params, volumes: int, sizes: VolumeSizes, facts: Mapping[str, Any]) -> dict[str, float]:
    """Estimate the disk space of a run.

    Args:
        params: all params.
        volumes: number of volumes.
        sizes: sizes of the volumes.
        facts: counts `parameters` of the backbone, and parameters of the `head`.

    Returns:
        Bytes per folder: data/prepared, cache, artifacts and handoff.
    """
    networks = sum(len(run.trained_networks) for run in (params, *base.trained_controls(params).values()))
    label_maps = networks * volumes * sizes.voxels * LABEL_MAP_BYTES
    return {
        "data/prepared": volumes * sizes.stored_bytes,
        "cache": label_maps,
        **estimate.network_requirements(params, facts),
    }


def time_requirements(
    params: Params, volumes: int, windows: int, measured: Mapping[str, Any], decode_s: float
) -> dict[str, float]:
    """Estimate the time of a run that trains its folds one after the other.

    Args:
        params: all params.
        volumes: number of volumes.
        windows: number of windows per volume.
        measured: seconds per patch of a forward pass (`forward`), a head step (`head`) and a training step (`train`),
            from medtune.training.volume_profile.
        decode_s: seconds per volume for stage data.

    Returns:
        Seconds by part of the run: data, stage 1, stage 2, test and controls. Controls (trainings for comparison) count
        like the model, although a control without a backbone is faster.
    """
    fractions, n_folds = estimate.split_fractions(params), len(params.trained_networks)
    train, val, test = (volumes * fractions[name] for name in ("train", "val", "test"))
    predict = windows * measured["forward"]["seconds"]
    seconds = {"data": volumes * decode_s}
    for stage, part, step in (("frozen", "stage 1", "head"), ("finetune", "stage 2", "train")):
        if stage not in params.training_stages:
            continue
        options, candidates = getattr(params, stage), len(params.learning_rates(stage))
        patches = options.epochs * options.repeats_for(round(train)) * train
        training = patches * measured[step]["seconds"] + options.epochs * val * predict
        seconds[part] = n_folds * candidates * training
    seconds["test"] = n_folds * (val + test) * predict
    last = measured.get("train", measured.get("head"))
    of_control = {"forward": measured["forward"], "head": measured.get("head", last), "train": last}
    controls = [
        sum(time_requirements(control, volumes, windows, of_control, 0.0).values())
        for control in base.trained_controls(params).values()
    ]
    return {**seconds, "controls": sum(controls)} if controls else seconds


def _disk_estimate(context: Context) -> CheckResult:
    missing = [name for name in ("images", "volumes", "parameters", "head") if name not in context.facts]
    if missing:
        return warning(f"unknown without {', '.join(missing)}", "fix the problems above", "estimate disk")
    sizes, volumes = context.facts["volumes"], context.facts["images"]
    message = estimate.require_space(context, disk_requirements(context.params, volumes, sizes, context.facts))
    words = wording_of_params(context.params.data)
    counted = (
        f"{volumes:,} {words.items} of {format_shape(sizes.shape[: words.n_axes])} {words.points} and "
        f"{context.facts['parameters']:,} parameters"
    )
    return ok(f"{message} (estimate from {counted})", "estimate disk")


def _time_estimate(context: Context) -> CheckResult:
    label, params = "estimate time", context.params
    if context.quick:
        return ok("not measured (--quick)", label)
    if "volumes" not in context.facts or "parameters" not in context.facts:
        return warning("unknown without the volumes and the shape of the network", "fix the problems above", label)
    sizes: VolumeSizes = context.facts["volumes"]
    try:
        measured = context.questions.ask("medtune.training.volume_profile", with_patch(context), PROFILE_TIMEOUT_S)
    except CheckError as error:
        return warning(f"steps cannot be measured: {first_line(error)}", "use a smaller data.patch or --quick", label)
    context.facts["memory"] = measured["memory"]
    times = time_requirements(params, context.facts["images"], sizes.windows, measured, context.facts["decode_s"])
    parts = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in times.items() if seconds)
    steps = {"forward": "forward pass", "head": "decoder step", "train": "training step"}
    shown = ", ".join(f"{steps[name]} {measured[name]['seconds']:.2g} s" for name in steps if name in measured)
    total = format_duration(sum(times.values()))
    source = f"estimate from steps measured on {measured['device']}: {shown} per patch, without export and start-up"
    return ok(f"{total} for {estimate.searches(params)}: {parts} ({source})", label)
