"""Stage gate: comparison of the new bundle with the accepted bundle, both run with onnxruntime."""

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
from medtune.data.training_overlap import image_digests
from medtune.data.wording import wording
from medtune.evaluation.gate import GateDecision, ModelStats, decide, rejection
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.serving import manifest as bundle_document
from medtune.serving import members
from medtune.serving.any_bundle import load_bundle
from medtune.serving.bundle import Bundle
from medtune.serving.intensity import Intensity
from medtune.serving.manifest import BundleError
from medtune.serving.manifest_fields import VOLUMES
from medtune.stages.gate_volumes import changed_masks, incompatibility, predict_volumes
from medtune.tasks import base

SEEN_SPLITS = ("train", "val")
ACCEPT = "To publish the model without a comparison, run `medtune retrain --accept REASON`"


@dataclass(frozen=True)
class Champion:
    """The accepted model.

    Attributes:
        name: id in the model store.
        folder: folder of the bundle.
        manifest: content of manifest.csv of the training data.
    """

    name: str
    folder: Path
    manifest: str


def run(params: Params, paths: RunPaths, champion: Champion | None) -> GateDecision:
    """Decide whether the bundle in artifacts/export replaces the champion.

    The average of the networks has seen every patient, so single networks are compared. The challenger predicts a test
    image with the network of the image's fold. The champion uses a network that has not seen the patient in training
    or validation. Without patient ids, every image counts as a patient. If labels or masks have changed since the
    champion was accepted, a person must decide.

    Args:
        params: all params.
        paths: where the bundle and the data are.
        champion: the accepted model, or None if there is none.

    Returns:
        The decision.

    Raises:
        BundleError: a bundle is damaged.
    """
    prepared, folder = open_prepared(paths), paths.stage("export")
    document = bundle_document.read_manifest(folder)
    folds = members.folds(document)
    if members.REFIT in folds:
        return rejection(["final=refit: this model has seen every patient. Use final=ensemble"], params.gate)
    indices, networks = _tested(prepared, folds)
    notes: list[str] = []
    champion_document, champion_networks = None, networks
    if champion:
        champion_document = bundle_document.read_manifest(champion.folder)
        if reason := _incompatibility(document, champion_document):
            return rejection([reason], params.gate)
        champion_folds = members.folds(champion_document)
        if members.REFIT in champion_folds:
            return rejection([f"the champion is a refit network, which has seen every patient. {ACCEPT}"], params.gate)
        selected, champion_networks, notes, changed = _common_images(
            prepared, indices, networks, champion.manifest, champion_folds
        )
        indices, networks = indices[selected], networks[selected]
        if not len(indices):
            return rejection([f"the champion was trained on every test patient. {ACCEPT}"], params.gate, notes)
        if changed:
            return rejection([changed], params.gate, notes)

    def measure(folder: Path, name: str, document: dict[str, Any], networks: np.ndarray) -> ModelStats:
        problems = _problems(folder, document, params)
        if prepared.has_volumes:
            predictions = predict_volumes(folder, name, document, prepared, indices, networks, params)
        else:
            images = prepared.images[indices]
            if champion and folder == champion.folder:
                images = _images_for_champion(params, paths, prepared, indices, document)
            predictions = _predict(folder, name, document, prepared, indices, networks, images, params)
        pooled = base.evaluation(params.task.kind).pool(predictions)
        return ModelStats(name, pooled.stats(params.evaluate), problems)

    stats = measure(folder, "challenger", document, networks)
    champion_stats = None
    if champion and champion_document is not None:
        champion_stats = measure(champion.folder, champion.name, champion_document, champion_networks)
    metric = base.metric(params.task.kind, params.gate.metric)
    assert metric is not None  # the params are validated
    limits = base.evaluation(params.task.kind).limits(params.gate)
    n = len({prepared.slide_of_tile[index] for index in indices.tolist()}) if prepared.slide_of_tile else len(indices)
    decision = decide(stats, champion_stats, n, metric, limits, params.gate, params.evaluate, prepared.positive)
    return replace(decision, notes=tuple(notes))


def _incompatibility(document: dict[str, Any], champion: dict[str, Any]) -> str | None:
    """Return why two bundles cannot be compared, or None if they can."""
    if VOLUMES in document:
        reason = incompatibility(document, champion)
        return f"{reason}. {ACCEPT}" if reason else None
    for name in ("task", "classes", "output", "tiles", "aggregation"):
        if name == "output" and "tiles" in document:  # the shape contains the number of networks, which may differ
            continue
        if champion.get(name) == document.get(name):
            continue
        if name == "classes" and set(document[name]) == set(champion.get(name, ())):
            return (
                f"the positive class is {document[name][-1]}, but {champion[name][-1]} for the champion, so "
                f"sensitivity and specificity cannot be compared. {ACCEPT}"
            )
        return f"{name}: {document.get(name)}, but {champion.get(name)} for the champion. {ACCEPT}"
    return None


def _tested(prepared: PreparedDataset, folds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of all test images, and for each image the position in `folds` of its first test fold."""
    is_test = prepared.splits[:, folds] == "test"
    indices = np.flatnonzero(is_test.any(axis=1))
    return indices, is_test[indices].argmax(axis=1)


def _common_images(
    prepared: PreparedDataset, indices: np.ndarray, networks: np.ndarray, manifest: str, folds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Find for each test image a network of the champion that has not seen the patient.

    Args:
        prepared: the prepared data.
        indices: indices (n,) of the test images.
        networks: number (n,) of the challenger's network for each image. The champion's network with the same number is
            preferred.
        manifest: content of manifest.csv of the champion's training data.
        folds: test fold of each network of the champion.

    Returns:
        A tuple of four values. The first is the positions (m,) in `indices` of the images that have such a network. The
        second is the number (m,) of this network. The third is notes about excluded images. The fourth is a message if
        labels or masks have changed, otherwise an empty string.
    """
    reader = csv.DictReader(io.StringIO(manifest))
    old_rows = {row["path"]: row for row in reader}
    # Manifests of version 0.1 call the column of the patients "group".
    patient_column = "patient" if "patient" in (reader.fieldnames or ()) else "group"
    column, digests = image_digests(prepared, reader.fieldnames or ())
    ids, hashes = prepared.patient_ids[indices].tolist(), [digests[index] for index in indices.tolist()]
    new_patient, unseen = (np.ones((len(indices), len(folds)), bool) for _ in range(2))
    for member, fold in enumerate(folds):
        seen = [row for row in old_rows.values() if row[f"role_{fold}"] in SEEN_SPLITS]
        seen_patients, seen_hashes = {row[patient_column] for row in seen}, {row[column] for row in seen}
        new_patient[:, member] = [patient not in seen_patients for patient in ids]
        unseen[:, member] = new_patient[:, member]
        if not prepared.slide_of_tile:  # tiles of glass can be identical
            unseen[:, member] &= [sha256 not in seen_hashes for sha256 in hashes]
    notes = []
    trained = ~new_patient.any(axis=1)
    if n := int(trained.sum()):
        count = f"{_count(n, 'test image')} of {_count(len({ids[k] for k in np.flatnonzero(trained)}), 'patient')}"
        notes.append(f"left out because of patients in the training data of the champion: {count}")
    copies = ~unseen.any(axis=1) & ~trained
    if n := int(copies.sum()):
        count = f"{_count(n, 'test image')} (first: {prepared.paths[indices[copies.argmax()]]})"
        notes.append(f"left out because of identical images in the training data of the champion: {count}")
    selected = np.flatnonzero(unseen.any(axis=1))
    same = np.minimum(networks[selected], len(folds) - 1)
    champion_networks = np.where(unseen[selected, same], same, unseen[selected].argmax(axis=1))
    labels = [(index, _label(old_rows, prepared.paths[index])) for index in indices[selected].tolist()]
    by_label = [index for index, label in labels if label not in (None, prepared.names[index])]
    changed = sorted({*by_label, *changed_masks(prepared, indices[selected].tolist(), old_rows)})
    if not changed:
        return selected, champion_networks, notes, ""
    what = "masks" if prepared.has_volumes else "labels", wording(prepared.info).items
    message = (
        f"{what[0]} of {len(changed)} test {what[1]} changed since the champion was accepted "
        f"(first: {prepared.paths[changed[0]]}). Check which {what[0]} are correct. {ACCEPT}"
    )
    return selected, champion_networks, notes, message


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _label(manifest: Mapping[str, Mapping[str, str]], path: str) -> str | None:
    return manifest[path]["label"] if path in manifest else None


def _problems(folder: Path, document: dict[str, Any], params: Params) -> tuple[str, ...]:
    """Return the problems that the self-test and the parity check of a bundle found."""
    problems = []
    for precision, entry in document["precisions"].items():
        if not entry["shipped"]:
            continue
        try:
            load_bundle(folder, precision).self_test()
        except BundleError as error:
            problems.append(str(error))
    limit = params.export.fp32_tolerance
    if (parity := document["parity"]["fp32"]["max_abs_diff"]) > limit:
        problems.append(f"fp32 differs from the trained network by {parity:.1e}, above export.fp32_tolerance={limit:g}")
    return tuple(problems)


def _predict(
    folder: Path,
    name: str,
    document: dict[str, Any],
    prepared: PreparedDataset,
    indices: np.ndarray,
    networks: np.ndarray,
    images: np.ndarray,
    params: Params,
) -> list[Any]:
    """Return the predictions of a bundle for images, where `networks` selects the network for each image."""
    bundle, size = Bundle.load(folder), params.evaluate.batch_size
    batches: list[np.ndarray] = []
    with progress(f"gate: {name}", len(images), "images") as advance:
        for start in range(0, len(images), size):
            batches.append(bundle.run_members(np.ascontiguousarray(images[start : start + size])))
            advance(len(batches[-1]))
    outputs, task, predictions = np.concatenate(batches), base.evaluation(params.task.kind), []
    for member in np.unique(networks).tolist():
        selected = networks == member
        output = outputs[selected, member : member + 1] if prepared.slide_of_tile else outputs[selected, member]
        predictions.append(task.from_bundle(prepared, indices[selected], output, _member_document(document, member)))
    return predictions


def _member_document(document: dict[str, Any], member: int) -> dict[str, Any]:
    """Return bundle.json reduced to one network, with the decision rule of this network."""
    if members.MEMBERS not in document:
        return document
    entry = document[members.MEMBERS][member]
    return {**document, members.MEMBERS: [entry], **({"decision": entry["decision"]} if "decision" in entry else {})}


def _images_for_champion(
    params: Params, paths: RunPaths, prepared: PreparedDataset, indices: np.ndarray, document: dict[str, Any]
) -> np.ndarray:
    """Return the test images for the champion, repacked if its image size, resizing or intensity range differs.

    Tiles of slides need no repacking, because the settings of both models are equal and resizing does not apply.

    Returns:
        Images, uint8 (n, H, W, 3).
    """
    settings = document["preprocessing"]
    intensity, champion_intensity = (
        Intensity.from_document(entry.get("intensity")) for entry in (prepared.info, settings)
    )
    same_size = (settings["image_size"], settings["resize"]) == (params.data.image_size, params.data.resize)
    if prepared.slide_of_tile or (same_size and (not intensity.from_deep or intensity == champion_intensity)):
        return np.asarray(prepared.images[indices])
    listed = list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)
    sample_by_path = {sample.path: sample for sample in listed.samples}
    folder = paths.cache / "gate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    samples = [sample_by_path[prepared.paths[index]] for index in indices.tolist()]
    pack(samples, listed.root, folder, settings["image_size"], settings["resize"], "error", champion_intensity)
    images: np.ndarray = np.load(folder / IMAGES_FILE, allow_pickle=False)
    return images
