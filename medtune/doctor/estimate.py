"""Disk and time that a run will take: reckoned from its params, with steps measured here. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.doctor.folders import places
from medtune.doctor.result import Finding, Job, duration, ok, size, warning
from medtune.doctor.subprocess_check import NoAnswer, ask
from medtune.serving.one_line import first_line

MEASURE_S = 180.0
# Official divisions differ; what is left to training is about this.
OFFICIAL_TRAIN = 0.6
FLOAT, HALF = 4, 2


def estimate(job: Job) -> list[Finding]:
    """A line on disk and one on time, each saying what it was reckoned from."""
    return [_disk(job), _time(job)]


def shares(params: Params) -> dict[str, float]:
    """What part of the images one chain trains, validates and tests on, about."""
    split = params.data.split
    if split.protocol == "official":
        return {"train": OFFICIAL_TRAIN, "val": 0.15, "test": 0.25}
    if split.protocol == "hcrf-1-1-2":
        return {"train": 0.25, "val": 0.25, "test": 0.5}
    return {"train": 1 - 2 / split.folds, "val": 1 / split.folds, "test": 1 / split.folds}


def stored_views(params: Params, images: int, facts: Mapping[str, Any]) -> int:
    """Views whose features stage 1 stores; 0: none, it runs the backbone in every epoch or not at all."""
    if "frozen" not in params.training_stages or params.frozen.views == "online":
        return 0
    share, views = shares(params), int(params.frozen.views)
    size = images * (share["train"] * views + share["val"]) * facts["tokens"] * facts["channels"] * HALF
    return views if size <= params.frozen.store_gb * 1e9 else 0


def disk_needs(params: Params, images: int, facts: Mapping[str, Any]) -> dict[str, float]:
    """Bytes by name of the folder: data/prepared, cache, artifacts, handoff, and what each part is.

    Args:
        params: all params.
        images: in the set.
        facts: `tokens`, `channels`, `parameters` and `head`, counts, of the network.
    """
    chains, store = len(params.data.split.chains), 0.0
    pack, whole = images * params.data.image_size**2 * 3, facts["parameters"] + facts["head"]
    if stored := stored_views(params, images, facts):
        rows = images * (shares(params)["train"] * stored + shares(params)["val"])
        # The chains of a cross-validation share what they store: each image is trained on by one of them.
        store = facts["tokens"] * facts["channels"] * HALF * (rows if chains == 1 else images * stored)
    kept = chains * (facts["head"] + (whole if "finetune" in params.training_stages else 0)) * FLOAT
    # Weights, averages, the best epoch's, two moments; the old file stays until the new one is whole.
    saved = 2 * 5 * FLOAT * (whole if "finetune" in params.training_stages else facts["head"])
    widths = {"fp32": 4, "fp16": 2, "int8": 1}
    bundle = whole * sum(widths[precision] for precision in params.export.precisions) + 20e6
    return {"data/prepared": pack, "cache": store, "artifacts": kept + saved + bundle, "handoff": bundle}


def seconds_needed(
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
    share, chains = shares(params), len(params.data.split.chains)
    train, val = images * share["train"], images * share["val"]
    forward = measured["forward"]["seconds"]
    found = {"data": images * decode_s, "stage 1": 0.0, "stage 2": 0.0, "test": images * share["test"] * forward}
    if "frozen" in params.training_stages:
        options, head = params.frozen, measured["head"]["seconds"]
        seen = options.epochs * options.passes * train
        if stored:
            found["stage 1"] = (train * stored + val) * forward + seen * head
        else:
            found["stage 1"] = seen * (forward + head) + options.epochs * val * forward
    if "finetune" in params.training_stages:
        tuned = params.finetune
        seen = tuned.epochs * tuned.passes * train
        found["stage 2"] = seen * measured["train"]["seconds"] + (tuned.epochs + 1) * val * forward
    return {name: value * (1 if name == "data" else chains) for name, value in found.items()}


def _disk(job: Job) -> Finding:
    missing = [name for name in ("images", "tokens", "channels", "parameters", "head") if name not in job.facts]
    if missing:
        return warning(f"disk: not known without {', '.join(missing)}", "mend what is wrong above", "estimate disk")
    needs = disk_needs(job.params, job.facts["images"], job.facts)
    folders = places(job)
    for name, count in needs.items():
        if name in folders:
            job.need(folders[name], count)
    if job.paths.out == PROJECT:  # `dvc repro` keeps a copy of both where the disk cannot share blocks
        job.need(PROJECT / ".dvc" / "cache", needs["data/prepared"] + needs["artifacts"])
    told = ", ".join(f"{name} {size(count)}" for name, count in needs.items())
    online = "frozen" in job.params.training_stages and not needs["cache"]
    above = "; stage 1 stores no features: frozen.views is online, or they exceed frozen.store_gb" if online else ""
    counted = f"estimate from {job.facts['images']:,} images of {job.params.data.image_size} px"
    return ok(f"{told} ({counted} and {job.facts['parameters']:,} parameters{above})", "estimate disk")


def _time(job: Job) -> Finding:
    label = "estimate time"
    if job.quick:
        return ok("not measured (--quick)", label)
    if "images" not in job.facts or "tokens" not in job.facts:
        return warning("not known without the images and the network's shape", "mend what is wrong above", label)
    try:
        measured = ask("medtune.training.profile", job.params, MEASURE_S)
    except NoAnswer as error:
        return warning(f"steps cannot be measured: {first_line(error)}", "try a smaller batch_size, or --quick", label)
    job.facts["memory"] = measured["memory"]
    params, images = job.params, job.facts["images"]
    stored = stored_views(params, images, job.facts)
    found = seconds_needed(params, images, measured, job.facts.get("decode_s", 0.0), stored)
    told = ", ".join(f"{name} {duration(seconds)}" for name, seconds in found.items() if seconds)
    steps = {"forward": "forward pass", "head": "head step", "train": "training step"}
    each = ", ".join(f"{steps[name]} {measured[name]['seconds'] * 1000:.3g} ms" for name in steps if name in measured)
    chains = len(params.data.split.chains)
    return ok(f"{duration(sum(found.values()))} for {chains} chain{'s' if chains > 1 else ''}: {told} (estimate from "
              f"steps measured here on {measured['device']}: {each} an image; export and start-up not counted)",
              label)  # fmt: skip
