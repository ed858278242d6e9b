"""Selection of test images in stage gate, and of networks that have not seen the patients of these images.

The challenger is the new model, and the champion is the accepted model.
"""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from medtune.data.manifest import PreparedDataset
from medtune.data.training_overlap import image_digests
from medtune.data.wording import wording
from medtune.stages.gate_volumes import changed_masks

SEEN_SPLITS = ("train", "val")


def select_tested(prepared: PreparedDataset, folds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of all test images, and for each image the position in `folds` of its first test fold.

    Args:
        prepared: the prepared data.
        folds: test fold of each network.
    """
    is_test = prepared.splits[:, folds] == "test"
    indices = np.flatnonzero(is_test.any(axis=1))
    return indices, is_test[indices].argmax(axis=1)


def common_images(
    prepared: PreparedDataset, indices: np.ndarray, networks: np.ndarray, manifest: str, folds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Find for each test image a network of the champion that has not seen the patient.

    Args:
        prepared: the prepared data.
        indices: (n,) indices of the test images.
        networks: (n,) index of the challenger's network for each image. The champion's network with the same index is
            preferred.
        manifest: content of manifest.csv of the champion's training data.
        folds: test fold of each network of the champion.

    Returns:
        A tuple of four values:
            - (m,) positions in `indices` of the images for which such a network exists.
            - (m,) index of this network in the champion.
            - Notes about excluded images.
            - A message if labels or masks have changed, otherwise an empty string.
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
        if not prepared.slide_of_tile:  # tiles without tissue can be identical, so tiles are not compared
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
        f"(first: {prepared.paths[changed[0]]}). Check which {what[0]} are correct"
    )
    return selected, champion_networks, notes, message


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _label(manifest: Mapping[str, Mapping[str, str]], path: str) -> str | None:
    """Return the label of an image in a manifest, or None if the manifest does not contain the image."""
    return manifest[path]["label"] if path in manifest else None
