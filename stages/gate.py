"""Stage gate: the new bundle against the accepted one, both asked through onnxruntime, as their users will."""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from medtune.serving import members
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

    The networks of a bundle are compared, not their average, which has seen every patient: each image is predicted by
    the network for whose fold it is a test image. The champion predicts it by a network that has not seen its patient,
    in training or validation; without patient ids an image is its own patient. Where a label has changed since, a
    person must decide.

    Raises:
        BundleError: a bundle is damaged.
    """
    prepared, folder = open_prepared(paths), paths.stage("export")
    document = bundle_document.read_manifest(folder)
    folds = members.folds(document)
    if members.REFIT in folds:
        return rejection(["final=refit: this model has seen every patient. Use final=ensemble"], params.gate)
    rows, own = _tested(prepared, folds)
    notes: list[str] = []
    old, theirs = None, own
    if champion:
        old = bundle_document.read_manifest(champion.folder)
        for name in ("task", "classes", "output", "tiles", "aggregation"):
            if name == "output" and "tiles" in document:  # its shape has the number of networks
                continue
            if old.get(name) != document.get(name):
                reason = f"{name} differ: {document.get(name)}, the champion's {old.get(name)}"
                if name == "classes" and set(document[name]) == set(old.get(name, ())):
                    reason = (
                        f"the positive class differs: {document[name][-1]}, the champion's {old[name][-1]}: "
                        "sensitivity and specificity cannot be compared"
                    )
                return rejection([reason], params.gate)
        if members.REFIT in members.folds(old):
            return rejection(["the champion is a refit network, which has seen every patient"], params.gate)
        kept, theirs, notes, changed = _common_images(prepared, rows, own, champion.manifest, members.folds(old))
        rows, own = rows[kept], own[kept]
        if not len(rows):
            return rejection(["the champion was trained on every test patient"], params.gate, notes)
        if changed:
            return rejection([changed], params.gate, notes)
    new = _predict(folder, "challenger", document, prepared, rows, own, prepared.images[rows], params)
    held = None
    if champion and old is not None:
        images = _images_for_champion(params, paths, prepared, rows, old)
        held = _predict(champion.folder, champion.name, old, prepared, rows, theirs, images, params)
    metric = base.metric(params.task.kind, params.gate.metric)
    assert metric is not None  # else the params were refused
    limits = base.evaluation(params.task.kind).limits(params.gate)
    n = len({prepared.slides[row] for row in rows.tolist()}) if prepared.slides else len(rows)
    decision = decide(new, held, n, metric, limits, params.gate, params.evaluate, prepared.positive)
    return replace(decision, notes=tuple(notes))


def _tested(prepared: PreparedDataset, folds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are test images of a fold, ascending, and the position in `folds` of the first such fold."""
    is_test = prepared.splits[:, folds] == "test"
    rows = np.flatnonzero(is_test.any(axis=1))
    return rows, is_test[rows].argmax(axis=1)


def _common_images(
    prepared: PreparedDataset, rows: np.ndarray, own: np.ndarray, manifest: str, folds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Find for each test image a network of the champion that has not seen its patient.

    Args:
        prepared: the data.
        rows: (n,) test rows.
        own: (n,) the challenger's network of each; the champion's at the same position is preferred.
        manifest: manifest.csv of the champion's data.
        folds: test fold of each of the champion's networks.

    Returns:
        Positions (m,) in `rows` of the images that have one, its position (m,) in `folds`, what was left out, and what
        is said where labels changed.
    """
    before = {row["path"]: row for row in csv.DictReader(io.StringIO(manifest))}
    ids, pixels = prepared.patient_ids[rows].tolist(), [prepared.sha256[row] for row in rows.tolist()]
    known, fair = (np.ones((len(rows), len(folds)), bool) for _ in range(2))
    for member, fold in enumerate(folds):
        seen = [row for row in before.values() if row[f"role_{fold}"] in SEEN_SPLITS]
        groups, shown = {row["group"] for row in seen}, {row["sha256"] for row in seen}
        known[:, member] = [group not in groups for group in ids]
        fair[:, member] = known[:, member]
        if not prepared.slides:  # tiles of glass are alike
            fair[:, member] &= [sha not in shown for sha in pixels]
    notes = []
    trained = ~known.any(axis=1)
    if out := int(trained.sum()):
        patients = len({ids[k] for k in np.flatnonzero(trained)})
        notes.append(f"{out} test images of {patients} patients left out: the champion was trained on them")
    twins = ~fair.any(axis=1) & ~trained
    if out := int(twins.sum()):
        first = prepared.paths[rows[twins.argmax()]]
        notes.append(f"{out} test images left out: pixel for pixel the champion was trained on them ({first} first)")
    kept = np.flatnonzero(fair.any(axis=1))
    same = np.minimum(own[kept], len(folds) - 1)
    theirs = np.where(fair[kept, same], same, fair[kept].argmax(axis=1))
    labels = [(row, _label(before, prepared.paths[row])) for row in rows[kept].tolist()]
    changed = [row for row, label in labels if label not in (None, prepared.names[row])]
    if not changed:
        return kept, theirs, notes, ""
    first = prepared.paths[changed[0]]
    said = (
        f"labels of {len(changed)} test images changed since the champion was accepted ({first} first): "
        "a person must say which are right"
    )
    return kept, theirs, notes, said


def _label(manifest: Mapping[str, Mapping[str, str]], path: str) -> str | None:
    return manifest[path]["label"] if path in manifest else None


def _predict(
    folder: Path,
    name: str,
    document: dict,
    prepared: PreparedDataset,
    rows: np.ndarray,
    networks: np.ndarray,
    images: np.ndarray,
    params: Params,
) -> ModelStats:
    """Statistics of a bundle for `rows`, each predicted by the network at its position in `networks`."""
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
            found.append(bundle.run_members(np.ascontiguousarray(images[start : start + size])))
            advance(len(found[-1]))
    outputs, task, parts = np.concatenate(found), base.evaluation(params.task.kind), []
    for member in np.unique(networks).tolist():
        chosen = networks == member
        one = _of_member(document, member)
        output = outputs[chosen, member : member + 1] if prepared.slides else outputs[chosen, member]
        parts.append(task.from_bundle(prepared, rows[chosen], output, one))
    return ModelStats(name, task.pool(parts).stats(params.evaluate), tuple(faults))


def _of_member(document: dict[str, Any], member: int) -> dict[str, Any]:
    """bundle.json as it would be of one of its networks, with the decision for patients that this one has not seen."""
    if members.MEMBERS not in document:
        return document
    own = document[members.MEMBERS][member]
    return {**document, members.MEMBERS: [own], **({"decision": own["decision"]} if "decision" in own else {})}


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
