"""Stage `data`: finds, checks, splits and packs the images into data/prepared."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data import fold_assignments
from medtune.data.class_selection import list_names
from medtune.data.fold_assignments import FoldAssignments
from medtune.data.sample import Sample
from medtune.data.source_listing import SourceListing, list_source
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, find_artifact, partial_dir, write_text
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.runtime.provenance import provenance
from medtune.tasks import base


def run(params: Params, paths: RunPaths, before_decoding: Callable[[], None] = lambda: None) -> Artifact:
    """The finished data/prepared; made anew only where params, source code or the image files changed.

    Args:
        params: all params.
        paths: where to write.
        before_decoding: called once everything but the pixels is checked; may refuse the params.

    Raises:
        InputError: the images, their labels or the split asked for are not as they must be.
    """
    begin = time.perf_counter()
    listed = list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)
    _check_columns(listed.samples, params)
    for line in listed.left_out.lines():
        console.info(f"data: {line}")
    kept = fold_assignments.read_assignments(
        fold_assignments.assignments_path(paths), params.data.source, params.data.split.folds
    )
    own_key = data_key(params)
    done = find_artifact(paths.prepared, own_key)
    if done is not None and done.result()["listing"] == listed.hash and _matches_assignments(params, paths, kept):
        shutil.rmtree(partial_dir(paths.prepared), ignore_errors=True)  # of a run with other params that was killed
        console.info(f"data: nothing changed, {done.result()['n_images']:,} images stand ready")
        return done
    try:
        return _prepare(params, paths, listed, kept, own_key, begin, before_decoding)
    except (InputError, OSError):  # it cannot go on from there, and on a full disk it is in the way
        shutil.rmtree(partial_dir(paths.prepared), ignore_errors=True)
        raise


def _check_columns(samples: Sequence[Sample], params: Params) -> None:
    from medtune.data.manifest import check_metadata
    from medtune.stages.preflight import check_subgroups

    if samples:
        names = list(samples[0].metadata)
        check_metadata(names, params.data.split.folds)
        check_subgroups(params, {name: [sample.metadata[name] for sample in samples] for name in names})


def _matches_assignments(params: Params, paths: RunPaths, assigned: FoldAssignments) -> bool:
    """True where the finished set has every patient in the fold that data/folds.csv names."""
    from medtune.data.manifest import load_prepared

    if params.data.split.protocol != "patient" or not assigned.fold_by_hash:
        return True
    prepared = load_prepared(paths.prepared)
    return assigned.is_consistent_with(prepared.patient_ids.tolist(), prepared.folds.tolist())


def _prepare(
    params: Params,
    paths: RunPaths,
    listed: SourceListing,
    known: FoldAssignments,
    own_key: str,
    begin: float,
    before_decoding: Callable[[], None],
) -> Artifact:
    import numpy as np

    from medtune.data import contact_sheet, duplicates, findings, manifest
    from medtune.data.packing import IMAGES_FILE, pack
    from medtune.data.slide_tiles import write_overviews
    from medtune.data.splits import split_samples

    data, records, classes = params.data, listed.samples, listed.classes
    task = base.targets(params.task.kind)
    if hasattr(listed.source, "cut") and params.task.kind != "classification":
        raise InputError(f"task.kind={params.task.kind}: slides can only be classified. Use another data.source")
    # Before an hour of decoding: are the targets usable, and can these records be split as asked?
    task.check(records)
    split_samples(records, listed.split_classes, data.split, data.source, known, task.MIN_CLASSES)
    before_decoding()
    folder = partial_dir(paths.prepared)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    slides = listed.source.cut(records, listed.root, data) if hasattr(listed.source, "cut") else None
    images_of = records if slides is None else slides.tiles
    packed = pack(images_of, listed.root, folder, data.image_size, data.resize, data.on_bad_image, data.intensity)
    kept = [images_of[position] for position in packed.selected]
    slides = slides and slides.select(packed.selected)
    units = kept if slides is None else slides.slides
    made = split_samples(units, listed.split_classes, data.split, data.source, known, task.MIN_CLASSES)
    unit_splits = made.splits
    if slides is not None:  # all tiles of a slide are where the slide is
        made = replace(made, folds=made.folds[slides.slide_index], splits=made.splits[slides.slide_index])
    manifest.write_targets(folder, (task.encode(record, data) for record in kept), len(kept))
    decoded = time.perf_counter()

    images = np.load(folder / IMAGES_FILE, mmap_mode="r")
    # Tiles of glass or fat are alike: slides are compared as a whole.
    found = duplicates.find_duplicates(images, packed.sha256) if slides is None else slides.copies()
    names, unit_labels = [unit.path for unit in units], [unit.label for unit in units]
    twice = duplicates.duplicate_report(found, names, unit_labels, unit_splits, data.split.trained_folds)
    if data.split.protocol in ("patient", "site") and twice["exact"]["across_splits"]:
        _reject_duplicates(twice["exact"], "images" if slides is None else "slides")

    if data.split.protocol == "column" and (apart := twice["exact"]["across_splits"]):
        twins = f"{apart:,} images are in several splits, pixel for pixel (report.json): these scores are too good."
    else:
        twins = ""
    chosen = "all" if data.split.test_fold == "all" else data.split.test_folds[0]
    manifest.write_manifest(folder, kept, packed, made, chosen)
    notes = [*listed.notes, *made.notes, *packed.notes, *([twins] if twins else [])]
    notes += slides.notes() if slides is not None else []
    info = _info(params, listed, units, unit_splits, made.leaked_patients, notes)
    info |= {"sites": list(made.sites)} if made.sites else {}
    if slides is not None:
        info |= {"n_images": len(kept), "n_slides": len(units)}
        write_overviews(folder / "slides", slides)
    info["intensity"] = packed.intensity.document()
    manifest.write_info(folder, info)
    shown, indices = findings.display_groups(kept, classes)
    contact_sheet.write_contact_sheet(folder / "samples.png", images, indices, shown)
    tested = np.flatnonzero(np.asarray(made.splits)[:, data.split.test_folds[0]] == "test")
    contact_sheet.write_sample_files(folder / "samples", images, indices, shown, tested)
    seconds = time.perf_counter() - begin
    rejected = [*listed.rejected, *(slides.rejected if slides else ()), *packed.rejected]
    report = {
        "n_found": len(records) + len(listed.rejected),
        "n_kept": len(units),
        "n_rejected": len(rejected),
        "rejected": [{"path": path, "reason": reason} for path, reason in rejected],
        "left_out": listed.left_out.report(),
        "counts": info["counts"],
        "notes": info["notes"],
        "leaked_groups": info["leaked_groups"],
        "duplicates": twice,
        "seconds": round(seconds, 3),
        "images_per_second": round(len(images_of) / max(decoded - begin, 1e-9), 1),
        **({"slides": slides.report()} if slides is not None else {}),
    }
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    result = {
        "stage": "data",
        "listing": listed.hash,
        "n_images": len(kept),
        "params": params.section("data"),
        "seconds": round(seconds, 3),
        "provenance": provenance(),
    }
    done = commit(paths.prepared, own_key, result)
    _print_summary(info, report)
    return done


def _reject_duplicates(exact: dict[str, Any], unit: str) -> None:
    shown = "; ".join(" = ".join(entry["paths"][:4]) for entry in exact["first"][:3] if entry["across_splits"])
    raise InputError(
        f"{exact['across_splits']} {unit} are there twice, pixel for pixel, under different patients and in different "
        f"splits: {shown}. Remove the copies, or give them one group"
    )


def _info(
    params: Params,
    listed: SourceListing,
    selected: Sequence[Sample],
    splits: Any,
    leaked: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    data, source, classes = params.data, listed.source, listed.classes
    known = selected[0].patient_id is not None

    def count(which: Sequence[Sample]) -> dict[str, int]:
        found = Counter(label for record in which for label in record.labels or (record.label,))
        return {name: found[name] for name in dict.fromkeys([*classes, *found])}

    chains = {
        str(chain): {
            part: count([record for record, role in zip(selected, splits[:, chain], strict=True) if role == part])
            for part in ("train", "val", "test", *(["external"] if (splits[:, chain] == "external").any() else []))
        }
        for chain in data.split.trained_folds
    }
    expected = source.expected(data) if hasattr(source, "expected") else None
    return {
        "name": source.NAME,
        "source": data.source,
        "classes": list(classes),
        **({"positive": listed.positive} if listed.positive is not None else {}),
        "licence": source.LICENSE,
        "citation": source.CITATION,
        "faults": list(source.KNOWN_ISSUES),
        "protocol": data.split.protocol,
        "split": data.split.model_dump(mode="json"),
        "n_images": len(selected),
        "n_groups": len({record.patient_id for record in selected}) if known else len(selected),
        "groups_known": known,
        "leaked_groups": list(leaked),
        "notes": list(notes),
        "counts": {"all": count(selected), "chains": chains},
        "expected": expected,
        "image_size": data.image_size,
        "resize": data.resize,
        **({"allow_values": data.allow_values} if data.allow_values else {}),
        **(source.metadata(data) if hasattr(source, "metadata") else {}),
    }


def _print_summary(info: dict[str, Any], report: dict[str, Any]) -> None:
    counts = list_names([f"{name} {count:,}" for name, count in info["counts"]["all"].items()])
    if positive := info.get("positive"):
        counts += f"; positive class: {positive}"
    groups = f"{info['n_groups']:,} groups" if info["groups_known"] else "no patient ids"
    tiles = f", {info['n_images']:,} tiles" if "n_slides" in info else ""
    number, unit = (info["n_slides"], "slides") if tiles else (info["n_images"], "images")
    console.info(f"data: {number:,} {unit} ({counts}){tiles}, {groups}, split by {info['protocol']}")
    if report["n_rejected"]:
        console.info(f"data: {report['n_rejected']:,} {unit} left out, named in report.json")
    twice = report["duplicates"]
    if twice["exact"]["sets"] or twice["near"]["pairs"]:
        exact, near = twice["exact"], twice["near"]
        console.info(
            f"data: {exact['sets']:,} sets of equal {unit} ({exact['across_splits']:,} across splits), "
            f"{near['pairs']:,} nearly equal pairs ({near['across_splits']:,} across splits)"
        )
    for note in info["notes"]:
        console.info(f"data: {note}")
