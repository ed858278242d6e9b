"""Stage gate: the new bundle against the accepted one, both asked through onnxruntime, as their users will."""

import csv
import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.data.packing import IMAGES_FILE, pack
from medtune.data.prepared import open_prepared
from medtune.data.source_listing import list_source
from medtune.evaluation.gate import GateDecision, ModelStats, decide, rejection
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.serving import manifest as bundle_document
from medtune.serving.bundle import Bundle
from medtune.serving.intensity import Intensity
from medtune.serving.manifest import BundleError
from medtune.tasks import base

SEEN_SPLITS = ("train", "val")


@dataclass(frozen=True)
class Champion:
    """The accepted model.

    Attributes:
        name: its id in the target.
        folder: its bundle.
        manifest: manifest.csv of the data it was trained on, as text.
    """

    name: str
    folder: Path
    manifest: str


def run(params: Params, paths: RunPaths, champion: Champion | None) -> GateDecision:
    """Whether the bundle in artifacts/export replaces the champion's.

    Only test images are scored whose patient the champion never saw, in training or validation; without patient ids
    an image stands for one. Where a label of theirs has changed since, a person must decide.

    Raises:
        BundleError: a bundle is damaged.
    """
    prepared, folder = open_prepared(paths), paths.stage("export")
    document = bundle_document.read_manifest(folder)
    rows = prepared.indices(int(document["exported"]["fold"]))["test"]
    notes: list[str] = []
    old = None
    if champion:
        old = bundle_document.read_manifest(champion.folder)
        for name in ("task", "classes", "output", "tiles", "aggregation"):
            if old.get(name) != document.get(name):
                reason = f"{name} differ: {document.get(name)}, the champion's {old.get(name)}"
                if name == "classes" and set(document[name]) == set(old.get(name, ())):
                    reason = (
                        f"the positive class differs: {document[name][-1]}, the champion's {old[name][-1]}: "
                        "sensitivity and specificity cannot be compared"
                    )
                return rejection([reason], params.gate)
        rows, notes, changed = _common_images(prepared, rows, champion.manifest, int(old["exported"]["fold"]))
        if not len(rows):
            return rejection(["the champion was trained on every test patient"], params.gate, notes)
        if changed:
            return rejection([changed], params.gate, notes)
    new = _predict(folder, "challenger", document, prepared, rows, prepared.images[rows], params)
    held = None
    if champion and old is not None:
        held = _predict(
            champion.folder,
            champion.name,
            old,
            prepared,
            rows,
            _images_for_champion(params, paths, prepared, rows, old),
            params,
        )
    metric = base.metric(params.task.kind, params.gate.metric)
    assert metric is not None  # else the params were refused
    limits = base.evaluation(params.task.kind).limits(params.gate)
    n = len({prepared.slides[row] for row in rows.tolist()}) if prepared.slides else len(rows)
    decision = decide(new, held, n, metric, limits, params.gate, params.evaluate, prepared.positive)
    return replace(decision, notes=tuple(notes))


def _common_images(
    prepared: PreparedDataset, rows: np.ndarray, manifest: str, fold: int
) -> tuple[np.ndarray, list[str], str]:
    """Test rows that the champion never saw, what was left out, and what is said where labels changed."""
    before = {row["path"]: row for row in csv.DictReader(io.StringIO(manifest))}
    seen = {row["group"] for row in before.values() if row[f"role_{fold}"] in SEEN_SPLITS}
    kept = rows[[group not in seen for group in prepared.patient_ids[rows].tolist()]]
    notes = []
    if out := len(rows) - len(kept):
        patients = len(set(prepared.patient_ids[rows].tolist()) & seen)
        notes.append(f"{out} test images of {patients} patients left out: the champion was trained on them")
    if not prepared.slides:  # tiles of glass are alike
        pixels = {row["sha256"] for row in before.values() if row[f"role_{fold}"] in SEEN_SPLITS}
        known = np.array([prepared.sha256[row] in pixels for row in kept.tolist()], bool)
        if twins := int(known.sum()):
            first = prepared.paths[kept[known.argmax()]]
            notes.append(
                f"{twins} test images left out: pixel for pixel the champion was trained on them ({first} first)"
            )
        kept = kept[~known]
    changed = [row for row in kept.tolist() if _label(before, prepared.paths[row]) not in (None, prepared.names[row])]
    if not changed:
        return kept, notes, ""
    first = prepared.paths[changed[0]]
    return (
        kept,
        notes,
        (
            f"labels of {len(changed)} test images changed since the champion was accepted ({first} first): "
            "a person must say which are right"
        ),
    )


def _label(manifest: Mapping[str, Mapping[str, str]], path: str) -> str | None:
    return manifest[path]["label"] if path in manifest else None


def _predict(
    folder: Path,
    name: str,
    document: dict,
    prepared: PreparedDataset,
    rows: np.ndarray,
    images: np.ndarray,
    params: Params,
) -> ModelStats:
    faults = []
    for precision, entry in document["precisions"].items():
        if not entry["shipped"]:
            continue
        try:
            Bundle.load(folder, precision).self_test()
        except BundleError as error:
            faults.append(str(error))
    limit = params.export.fp32_tolerance
    if (parity := document["parity"]["fp32"]["max_abs_diff"]) > limit:
        faults.append(f"fp32 parity {parity:.1e} is above export.fp32_tolerance {limit:g}")
    bundle, size, found = Bundle.load(folder), params.evaluate.batch_size, []
    with progress(f"gate: {name}", len(images), "images") as advance:
        for start in range(0, len(images), size):
            found.append(bundle.run(np.ascontiguousarray(images[start : start + size])))
            advance(len(found[-1]))
    predictions = base.evaluation(params.task.kind).from_bundle(prepared, rows, np.concatenate(found), document)
    return ModelStats(name, predictions.stats(params.evaluate), tuple(faults))


def _images_for_champion(
    params: Params, paths: RunPaths, prepared: PreparedDataset, rows: np.ndarray, document: dict
) -> np.ndarray:
    """The test images as the champion takes them: packed again if its size, resizing or range of values differs.

    Tiles of slides have the champion's settings already, and resizing does not apply to them.
    """
    wanted = document["preprocessing"]
    own, other = (Intensity.from_document(part.get("intensity")) for part in (prepared.info, wanted))
    same_fit = (wanted["image_size"], wanted["resize"]) == (params.data.image_size, params.data.resize)
    if prepared.slides or (same_fit and (not own.from_deep or own == other)):
        return prepared.images[rows]
    listed = list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)
    named = {record.path: record for record in listed.samples}
    folder = paths.cache / "gate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records = [named[prepared.paths[row]] for row in rows.tolist()]
    pack(records, listed.root, folder, wanted["image_size"], wanted["resize"], "error", other)
    return np.load(folder / IMAGES_FILE, allow_pickle=False)
