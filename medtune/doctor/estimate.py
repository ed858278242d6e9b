"""Estimates of the disk space and time of a run with images, from its params and measured training steps.

This module does not import torch.
"""

from collections.abc import Mapping
from typing import Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.doctor.check_result import CheckResult, Context, format_duration, format_size, ok, warning
from medtune.doctor.folders import output_dirs
from medtune.doctor.subprocess_check import CheckError
from medtune.serving.one_line import first_line

PROFILE_TIMEOUT_S = 180.0
# Typical fraction of training images in published splits.
OFFICIAL_TRAIN_FRACTION = 0.6
FP32_BYTES, FP16_BYTES = 4, 2


def check_estimate(context: Context) -> list[CheckResult]:
    """Return two lines: the estimates of disk space and time."""
    try:
        return [_disk_estimate(context), _time_estimate(context)]
    finally:
        context.questions.close()  # otherwise `check_memory` would count the memory of these processes as used


def split_fractions(params: Params) -> dict[str, float]:
    """Return the approximate fractions of images in train, val and test of one fold."""
    split = params.data.split
    if split.protocol in ("official", "folders"):
        return {"train": OFFICIAL_TRAIN_FRACTION, "val": 0.15, "test": 0.25}
    if split.protocol == "hcrf-1-1-2":
        return {"train": 0.25, "val": 0.25, "test": 0.5}
    return {"train": 1 - 2 / split.folds, "val": 1 / split.folds, "test": 1 / split.folds}


def stored_views(params: Params, images: int, facts: Mapping[str, Any]) -> int:
    """Return the number of views (augmented copies of an image) whose features stage 1 stores.

    Args:
        params: all params.
        images: number of images.
        facts: counts `tokens` per image and `channels` per token.

    Returns:
        The number of views. 0 if no features are stored, or if there is no stage 1.
    """
    if "frozen" not in params.training_stages or params.frozen.feature_views == "online":
        return 0
    fractions, views = split_fractions(params), int(params.frozen.feature_views)
    size = images * (fractions["train"] * views + fractions["val"]) * facts["tokens"] * facts["channels"] * FP16_BYTES
    return views if size <= params.frozen.feature_cache_gb * 1e9 else 0


def disk_requirements(params: Params, images: int, facts: Mapping[str, Any]) -> dict[str, float]:
    """Estimate the disk space of a run.

    Args:
        params: all params.
        images: number of images.
        facts: counts `tokens` per image, `channels` per token, `parameters` of the backbone, and parameters of the
            `head`.

    Returns:
        Bytes per folder: data/prepared, cache, artifacts and handoff.
    """
    n_folds, store = len(params.trained_networks), 0.0
    pack = images * params.data.image_size**2 * 3
    if stored := stored_views(params, images, facts):
        rows = images * (split_fractions(params)["train"] * stored + split_fractions(params)["val"])
        # Folds share stored features.
        store = facts["tokens"] * facts["channels"] * FP16_BYTES * (rows if n_folds == 1 else images * stored)
    return {"data/prepared": pack, "cache": store, **network_requirements(params, facts)}


def network_requirements(params: Params, facts: Mapping[str, Any]) -> dict[str, float]:
    """Estimate the disk space of weights, checkpoints and bundles.

    Args:
        params: all params.
        facts: counts `parameters` of the backbone, and parameters of the `head`.

    Returns:
        Bytes in artifacts and handoff.
    """
    n_folds, network = len(params.trained_networks), facts["parameters"] + facts["head"]
    weights = n_folds * (facts["head"] + (network if "finetune" in params.training_stages else 0)) * FP32_BYTES
    # Two checkpoints have five copies of the weights each: current, averaged, best epoch, and two moments of the
    # optimizer. The search for the learning rate has three copies: initial, best candidate, and last candidate.
    checkpoints = (2 * 5 + 3) * FP32_BYTES * (network if "finetune" in params.training_stages else facts["head"])
    widths = {"fp32": 4, "fp16": 2, "int8": 1}  # bytes per weight
    # The bundle contains the networks of all folds. Heads on a frozen backbone share the backbone.
    exported = n_folds * network if "finetune" in params.training_stages else network + (n_folds - 1) * facts["head"]
    if params.final == "refit":
        exported = network
    bundle = exported * sum(widths[precision] for precision in params.export.precisions) + 20e6
    return {"artifacts": weights + checkpoints + bundle, "handoff": bundle}


def time_requirements(
    params: Params, images: int, measured: Mapping[str, Any], decode_s: float, stored: int
) -> dict[str, float]:
    """Estimate the time of a run that trains its folds one after the other.

    Args:
        params: all params.
        images: number of images.
        measured: seconds per image of a forward pass (`forward`), a head step (`head`) and a training step (`train`),
            from medtune.training.profile.
        decode_s: seconds per image for decoding.
        stored: result of `stored_views`.

    Returns:
        Seconds by part of the run: data, stage 1, stage 2 and test.
    """
    fractions, n_folds = split_fractions(params), len(params.trained_networks)
    train, val = images * fractions["train"], images * fractions["val"]
    forward = measured["forward"]["seconds"]
    seconds = {"data": images * decode_s, "stage 1": 0.0, "stage 2": 0.0, "test": images * fractions["test"] * forward}
    if "frozen" in params.training_stages:
        options, head = params.frozen, measured["head"]["seconds"]
        candidates = len(params.learning_rates("frozen"))
        solved = params.model.head.solved  # takes seconds, independent of `epochs`
        n_samples = 0.0 if solved else candidates * options.epochs * options.repeats_for(round(train)) * train
        if stored:  # folds share stored features
            views = train * stored + val if n_folds == 1 else images * stored
            seconds["stage 1"] = views * forward / n_folds + n_samples * head
        else:
            seconds["stage 1"] = n_samples * (forward + head) + candidates * options.epochs * val * forward
    if "finetune" in params.training_stages:
        tuned, candidates = params.finetune, len(params.learning_rates("finetune"))
        n_samples = tuned.epochs * tuned.repeats_for(round(train)) * train
        seconds["stage 2"] = candidates * (
            n_samples * measured["train"]["seconds"] + (tuned.epochs + 1) * val * forward
        )
    return {name: value * (1 if name == "data" else n_folds) for name, value in seconds.items()}


def require_space(context: Context, needs: Mapping[str, float]) -> str:
    """Record the disk space that a run needs, for the later check of the free space.

    Args:
        context: the planned run.
        needs: bytes per folder, from `disk_requirements`.

    Returns:
        The disk space per folder as text.
    """
    folders = output_dirs(context)
    for name, count in needs.items():
        if name in folders:
            context.require_space(folders[name], count)
    if context.paths.out == PROJECT:  # on most disks, DVC stores copies of the outputs in its cache
        context.require_space(PROJECT / ".dvc" / "cache", needs["data/prepared"] + needs["artifacts"])
    return ", ".join(f"{name} {format_size(count)}" for name, count in needs.items())


def searches(params: Params) -> str:
    """Return the number of folds, and the number of learning rates per stage, as text."""
    n_folds = len(params.trained_networks)
    rates = ", ".join(
        f"{len(rates)} learning rates in {name}"
        for name in params.training_stages
        if len(rates := params.learning_rates(name)) > 1
    )
    return f"{n_folds} fold{'s' if n_folds > 1 else ''}{f' with {rates}' if rates else ''}"


def _disk_estimate(context: Context) -> CheckResult:
    missing = [name for name in ("images", "tokens", "channels", "parameters", "head") if name not in context.facts]
    if missing:
        return warning(f"unknown without {', '.join(missing)}", "fix the problems above", "estimate disk")
    needs = disk_requirements(context.params, context.facts["images"], context.facts)
    message = require_space(context, needs)
    online = "frozen" in context.params.training_stages and not needs["cache"]
    above = (
        "; stage 1 stores no features, because frozen.feature_views=online or they exceed frozen.feature_cache_gb"
        if online
        else ""
    )
    counted = f"estimate from {context.facts['images']:,} images of {context.params.data.image_size} px"
    return ok(f"{message} ({counted} and {context.facts['parameters']:,} parameters{above})", "estimate disk")


def _time_estimate(context: Context) -> CheckResult:
    label = "estimate time"
    if context.quick:
        return ok("not measured (--quick)", label)
    if "images" not in context.facts or "tokens" not in context.facts:
        return warning("unknown without the images and the shape of the network", "fix the problems above", label)
    try:
        measured = context.questions.ask("medtune.training.profile", context.params, PROFILE_TIMEOUT_S)
    except CheckError as error:
        return warning(f"steps cannot be measured: {first_line(error)}", "use a smaller batch_size, or --quick", label)
    context.facts["memory"] = measured["memory"]
    params, images = context.params, context.facts["images"]
    stored = stored_views(params, images, context.facts)
    estimate = time_requirements(params, images, measured, context.facts.get("decode_s", 0.0), stored)
    message = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in estimate.items() if seconds)
    steps = {"forward": "forward pass", "head": "head step", "train": "training step"}
    step_times = ", ".join(
        f"{steps[name]} {measured[name]['seconds'] * 1000:.3g} ms" for name in steps if name in measured
    )
    total = format_duration(sum(estimate.values()))
    return ok(
        f"{total} for {searches(params)}: {message} "
        f"(estimate from steps measured on {measured['device']}: {step_times} per image, without export and start-up)",
        label,
    )
