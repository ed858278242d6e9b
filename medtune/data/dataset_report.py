"""Description of a prepared data set: dataset.json, report.json and the summary for the user."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data.class_selection import list_names
from medtune.data.sample import Sample
from medtune.data.source_listing import SourceListing
from medtune.data.wording import wording
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, partial_dir, write_text
from medtune.runtime.provenance import provenance


def check_duplicates(duplicates: dict[str, Any], protocol: str, unit: str) -> list[str]:
    """Reject identical images of different patients in different splits.

    Args:
        duplicates: result of `medtune.data.duplicates.duplicate_report`.
        protocol: `data.split.protocol`.
        unit: plural word for the samples in messages, such as "slides".

    Returns:
        A warning for readers of the metrics if protocol `column` puts identical images into several splits. Otherwise
        an empty list.

    Raises:
        InputError: the protocol is `patient` or `site`, and identical images are in different splits.
    """
    exact = duplicates["exact"]
    if not exact["across_splits"]:
        return []
    if protocol == "column":
        copies = f"{exact['across_splits']:,} identical {unit}"
        return [f"{copies} are in several splits (report.json), which inflates the scores."]
    if protocol in ("patient", "site"):
        _reject_duplicates(exact, unit)
    return []


def _reject_duplicates(exact: dict[str, Any], unit: str) -> None:
    """Raise InputError with examples of identical images in different splits."""
    shown = [" = ".join(entry["paths"][:4]) for entry in exact["first"][:3] if entry["across_splits"]]
    others = exact["across_splits"] - len(shown)
    more = f"; and {others:,} more" if others else ""
    raise InputError(
        f"identical {unit} belong to different patients, who are in different splits: {'; '.join(shown)}{more}. "
        "Remove the copies, or assign them to one patient"
    )


def describe_dataset(
    data: DataParams,
    listed: SourceListing,
    selected: Sequence[Sample],
    splits: Any,
    leaked: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return the entries of dataset.json that images, slides and volumes share.

    Args:
        data: section `data` of params.yaml.
        listed: the listing of the source.
        selected: prepared samples. For volumes, `Sample.findings` contains the labels of the mask.
        splits: (n, folds) split of each sample.
        leaked: patients with images in several splits of a fold.
        notes: warnings for readers of the metrics, one sentence each.

    Returns:
        JSON values by key.
    """
    source, classes = listed.source, listed.classes
    known = selected[0].patient_id is not None

    def count(samples: Sequence[Sample]) -> dict[str, int]:
        counts = Counter(label for sample in samples for label in sample.labels or (sample.label,))
        return {name: counts[name] for name in dict.fromkeys([*classes, *counts])}

    fold_counts = {
        str(fold): {
            name: count([sample for sample, split in zip(selected, splits[:, fold], strict=True) if split == name])
            for name in ("train", "val", "test", *(["external"] if (splits[:, fold] == "external").any() else []))
        }
        for fold in data.split.trained_folds
    }
    expected = source.expected(data) if hasattr(source, "expected") else None
    return {
        "name": source.NAME,
        "source": data.source,
        "classes": list(classes),
        **({"positive": listed.positive} if listed.positive is not None else {}),
        "license": source.LICENSE,
        "citation": source.CITATION,
        "faults": list(source.KNOWN_ISSUES),
        "protocol": data.split.protocol,
        "split": data.split.model_dump(mode="json"),
        "n_images": len(selected),
        "n_patients": len({record.patient_id for record in selected}) if known else len(selected),
        "patients_known": known,
        "leaked_patients": list(leaked),
        "notes": list(notes),
        "counts": {"all": count(selected), "folds": fold_counts},
        "expected": expected,
        **({} if data.has_volumes else {"image_size": data.image_size, "resize": data.resize}),
        **({"allow_values": data.allow_values} if data.allow_values else {}),
        **(source.metadata(data) if hasattr(source, "metadata") else {}),
    }


def finish_dataset(
    prepared: Path,
    key: str,
    params: Params,
    listed: SourceListing,
    rejected: Sequence[tuple[str, str]],
    info: dict[str, Any],
    entries: dict[str, Any],
    start_time: float,
) -> Artifact:
    """Write report.json, complete the output folder of the stage (artifact), and print a summary.

    Args:
        prepared: output folder. Its other files are in a partial folder, which gets this path when it is complete.
        key: cache key of the output.
        params: all params.
        listed: the listing of the source.
        rejected: (path, reason) of each sample that was left out.
        info: content of dataset.json.
        entries: further entries of report.json: duplicates and speed.
        start_time: `time.perf_counter()` at the start of the stage, in seconds.

    Returns:
        The finished artifact.
    """
    seconds = round(time.perf_counter() - start_time, 3)
    report = _write_report(partial_dir(prepared), listed, rejected, info, {"seconds": seconds, **entries})
    result = {
        "stage": "data",
        "listing": listed.hash,
        "n_images": info["n_images"],
        "params": params.section("data"),
        "seconds": seconds,
        "provenance": provenance(),
    }
    artifact = commit(prepared, key, result)
    _print_summary(info, report)
    return artifact


def _write_report(
    folder: Path,
    listed: SourceListing,
    rejected: Sequence[tuple[str, str]],
    info: dict[str, Any],
    entries: dict[str, Any],
) -> dict[str, Any]:
    """Write report.json and return its content."""
    report = {
        "n_found": len(listed.samples) + len(listed.rejected),
        "n_kept": info.get("n_slides", info["n_images"]),
        "n_rejected": len(rejected),
        "rejected": [{"path": path, "reason": reason} for path, reason in rejected],
        "left_out": listed.left_out.report(),
        "counts": info["counts"],
        "notes": info["notes"],
        "leaked_patients": info["leaked_patients"],
        **entries,
    }
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def _print_summary(info: dict[str, Any], report: dict[str, Any]) -> None:
    """Print a summary of the data set, its duplicates and its notes."""
    counts = list_names([f"{name} {count:,}" for name, count in info["counts"]["all"].items()])
    if positive := info.get("positive"):
        counts += f"; positive class: {positive}"
    patients = f"{info['n_patients']:,} patients" if info["patients_known"] else "no patient ids"
    tiles = f", {info['n_images']:,} tiles" if "n_slides" in info else ""
    words = wording(info)
    number, unit = info["n_slides"] if tiles else info["n_images"], words.items
    console.info(f"data: {number:,} {unit} ({counts}){tiles}, {patients}, split by {info['protocol']}")
    if volumes := info.get("volumes"):
        spacing, patch = (
            " x ".join(f"{side:.4g}" for side in volumes[name][: words.n_axes]) for name in ("spacing", "patch")
        )
        if words.length == "mm":
            console.info(f"data: spacing {spacing} mm, patch {patch} {words.points}")
        else:
            console.info(
                f"data: spacing {spacing} pixels, patch {patch} pixels. The side of a pixel is unknown or 1 mm, so all "
                "distances are in pixels"
            )
    if report["n_rejected"]:
        console.info(f"data: {report['n_rejected']:,} {unit} left out, listed in report.json")
    exact, near = report["duplicates"]["exact"], report["duplicates"]["near"]
    if exact["sets"] or near["pairs"]:
        console.info(
            f"data: {exact['sets']:,} sets of identical {unit} ({exact['across_splits']:,} across splits), "
            f"{near['pairs']:,} nearly identical pairs ({near['across_splits']:,} across splits)"
        )
    for note in info["notes"]:
        console.info(f"data: {note}")
