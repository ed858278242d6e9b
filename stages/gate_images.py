"""Predictions of bundles for images in stage gate."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.data.packing import IMAGES_FILE, pack
from medtune.data.source_listing import list_source
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.serving import members
from medtune.serving.bundle import Bundle
from medtune.serving.intensity import Intensity
from medtune.tasks import base


def predict_images(
    folder: Path,
    name: str,
    document: dict[str, Any],
    prepared: PreparedDataset,
    indices: np.ndarray,
    networks: np.ndarray,
    images: np.ndarray,
    params: Params,
) -> list[Any]:
    """Predict test images with single networks of a bundle.

    Args:
        folder: folder of the bundle.
        name: name of the bundle for the progress bar.
        document: content of bundle.json.
        prepared: the prepared data.
        indices: (n,) indices of the images.
        networks: (n,) index of the network in the bundle, for each image.
        images: (n, H, W, 3) uint8, the images for this bundle.
        params: all params.

    Returns:
        Predictions of the task, one entry per network in use.
    """
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
        predictions.append(task.from_bundle(prepared, indices[selected], output, member_document(document, member)))
    return predictions


def member_document(document: dict[str, Any], member: int) -> dict[str, Any]:
    """Return bundle.json reduced to one network, with the decision rule of this network."""
    if members.MEMBERS not in document:
        return document
    entry = document[members.MEMBERS][member]
    return {**document, members.MEMBERS: [entry], **({"decision": entry["decision"]} if "decision" in entry else {})}


def incompatibility(document: Mapping[str, Any], champion: Mapping[str, Any]) -> str | None:
    """Return why two bundles for images cannot be compared, or None if they can.

    Args:
        document: content of bundle.json of the challenger.
        champion: content of bundle.json of the champion.
    """
    for name in ("task", "classes", "output", "tiles", "aggregation"):
        if name == "output" and "tiles" in document:  # the shape contains the number of networks, which may differ
            continue
        if champion.get(name) == document.get(name):
            continue
        if name == "classes" and set(document[name]) == set(champion.get(name, ())):
            return (
                f"the positive class is {document[name][-1]}, but {champion[name][-1]} for the champion, so "
                f"sensitivity and specificity cannot be compared"
            )
        return f"{name}: {document.get(name)}, but {champion.get(name)} for the champion"
    return None


def images_for_champion(
    params: Params, paths: RunPaths, prepared: PreparedDataset, indices: np.ndarray, document: dict[str, Any]
) -> np.ndarray:
    """Return the test images for the champion.

    If the champion has another image size, resizing or intensity range, the images are decoded again from their files.
    Tiles of slides are never decoded again, because `incompatibility` requires equal tile settings.

    Args:
        params: all params.
        paths: where to write the decoded images.
        prepared: the prepared data.
        indices: (n,) indices of the images.
        document: content of bundle.json of the champion.

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
