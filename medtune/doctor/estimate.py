"""Disk and time that a run will take: reckoned from its params, with steps measured here. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.doctor.check_result import CheckResult, Context, format_duration, format_size, ok, warning
from medtune.doctor.folders import output_dirs
from medtune.doctor.subprocess_check import CheckError
from medtune.serving.one_line import first_line

PROFILE_TIMEOUT_S = 180.0
# Official divisions differ; what is left to training is about this.
OFFICIAL_TRAIN_FRACTION = 0.6
FP32_BYTES, FP16_BYTES = 4, 2


def check_estimate(context: Context) -> list[CheckResult]:
    """A line on disk and one on time, each saying what it was reckoned from."""
    try:
        return [_disk_estimate(context), _time_estimate(context)]
    finally:
        context.questions.close()  # the last one: what it holds would count as memory in use


def split_fractions(params: Params) -> dict[str, float]:
    """What part of the images one chain trains, validates and tests on, about."""
    split = params.data.split
    if split.protocol in ("official", "folders"):
        return {"train": OFFICIAL_TRAIN_FRACTION, "val": 0.15, "test": 0.25}
    if split.protocol == "hcrf-1-1-2":
        return {"train": 0.25, "val": 0.25, "test": 0.5}
    return {"train": 1 - 2 / split.folds, "val": 1 / split.folds, "test": 1 / split.folds}


def stored_views(params: Params, images: int, facts: Mapping[str, Any]) -> int:
    """Views whose features stage 1 stores; 0: none, it runs the backbone in every epoch or not at all."""
    if "frozen" not in params.training_stages or params.frozen.feature_views == "online":
        return 0
    fractions, views = split_fractions(params), int(params.frozen.feature_views)
    size = images * (fractions["train"] * views + fractions["val"]) * facts["tokens"] * facts["channels"] * FP16_BYTES
    return views if size <= params.frozen.feature_cache_gb * 1e9 else 0


def disk_requirements(params: Params, images: int, facts: Mapping[str, Any]) -> dict[str, float]:
    """Bytes by name of the folder: data/prepared, cache, artifacts, handoff, and what each part is.

    Args:
        params: all params.
        images: in the set.
        facts: `tokens`, `channels`, `parameters` and `head`, counts, of the network.
    """
    n_folds, store = len(params.trained_networks), 0.0
    pack, network = images * params.data.image_size**2 * 3, facts["parameters"] + facts["head"]
    if stored := stored_views(params, images, facts):
        rows = images * (split_fractions(params)["train"] * stored + split_fractions(params)["val"])
        # The chains of a cross-validation share what they store: each image is trained on by one of them.
        store = facts["tokens"] * facts["channels"] * FP16_BYTES * (rows if n_folds == 1 else images * stored)
    weights = n_folds * (facts["head"] + (network if "finetune" in params.training_stages else 0)) * FP32_BYTES
    # Weights, averages, the best epoch's, two moments; the old file stays until the new one is whole. A search of the
    # learning rate adds the initial weights, and the best candidate's beside the last one's.
    checkpoints = (2 * 5 + 3) * FP32_BYTES * (network if "finetune" in params.training_stages else facts["head"])
    widths = {"fp32": 4, "fp16": 2, "int8": 1}
    # Networks of all folds are in the bundle; heads on a frozen backbone share it.
    exported = n_folds * network if "finetune" in params.training_stages else network + (n_folds - 1) * facts["head"]
    if params.final == "refit":
        exported = network
    bundle = exported * sum(widths[precision] for precision in params.export.precisions) + 20e6
    return {"data/prepared": pack, "cache": store, "artifacts": weights + checkpoints + bundle, "handoff": bundle}


def time_requirements(
    params: Params, images: int, measured: Mapping[str, Any], decode_s: float, stored: int
) -> dict[str, float]:
    """Seconds by part: data, stage 1, stage 2, test; one chain after the other.

    Args:
        params: all params.
        images: in the set.
        measured: seconds an image of `forward`, `head` and `train`, as medtune.training.profile measures them.
        decode_s: to decode an image.
        stored: views whose features stage 1 stores.
    """
    fractions, n_folds = split_fractions(params), len(params.trained_networks)
    train, val = images * fractions["train"], images * fractions["val"]
    forward = measured["forward"]["seconds"]
    seconds = {"data": images * decode_s, "stage 1": 0.0, "stage 2": 0.0, "test": images * fractions["test"] * forward}
    if "frozen" in params.training_stages:
        options, head = params.frozen, measured["head"]["seconds"]
        candidates = len(params.learning_rates("frozen"))
        solved = params.model.head.solved  # within seconds, whatever `epochs` says
        n_samples = 0.0 if solved else candidates * options.epochs * options.passes_over(round(train)) * train
        if stored:  # folds share what they store
            views = train * stored + val if n_folds == 1 else images * stored
            seconds["stage 1"] = views * forward / n_folds + n_samples * head
        else:
            seconds["stage 1"] = n_samples * (forward + head) + candidates * options.epochs * val * forward
    if "finetune" in params.training_stages:
        tuned, candidates = params.finetune, len(params.learning_rates("finetune"))
        n_samples = tuned.epochs * tuned.passes_over(round(train)) * train
        seconds["stage 2"] = candidates * (
            n_samples * measured["train"]["seconds"] + (tuned.epochs + 1) * val * forward
        )
    return {name: value * (1 if name == "data" else n_folds) for name, value in seconds.items()}


def _disk_estimate(context: Context) -> CheckResult:
    missing = [name for name in ("images", "tokens", "channels", "parameters", "head") if name not in context.facts]
    if missing:
        return warning(f"disk: not known without {', '.join(missing)}", "mend what is wrong above", "estimate disk")
    needs = disk_requirements(context.params, context.facts["images"], context.facts)
    folders = output_dirs(context)
    for name, count in needs.items():
        if name in folders:
            context.require_space(folders[name], count)
    if context.paths.out == PROJECT:  # `dvc repro` keeps a copy of both where the disk cannot share blocks
        context.require_space(PROJECT / ".dvc" / "cache", needs["data/prepared"] + needs["artifacts"])
    message = ", ".join(f"{name} {format_size(count)}" for name, count in needs.items())
    online = "frozen" in context.params.training_stages and not needs["cache"]
    above = (
        "; stage 1 stores no features: frozen.feature_views is online, or they exceed frozen.feature_cache_gb"
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
        return warning("not known without the images and the network's shape", "mend what is wrong above", label)
    try:
        measured = context.questions.ask("medtune.training.profile", context.params, PROFILE_TIMEOUT_S)
    except CheckError as error:
        return warning(f"steps cannot be measured: {first_line(error)}", "try a smaller batch_size, or --quick", label)
    context.facts["memory"] = measured["memory"]
    params, images = context.params, context.facts["images"]
    stored = stored_views(params, images, context.facts)
    found = time_requirements(params, images, measured, context.facts.get("decode_s", 0.0), stored)
    message = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in found.items() if seconds)
    steps = {"forward": "forward pass", "head": "head step", "train": "training step"}
    step_times = ", ".join(
        f"{steps[name]} {measured[name]['seconds'] * 1000:.3g} ms" for name in steps if name in measured
    )
    n_folds = len(params.trained_networks)
    tried = ", ".join(
        f"{len(rates)} learning rates in {name}"
        for name in params.training_stages
        if len(rates := params.learning_rates(name)) > 1
    )
    total = format_duration(sum(found.values()))
    return ok(
        f"{total} for {n_folds} chain{'s' if n_folds > 1 else ''}{f' with {tried}' if tried else ''}: {message} "
        "(estimate from "
        f"steps measured here on {measured['device']}: {step_times} an image; export and start-up not counted)",
        label,
    )
