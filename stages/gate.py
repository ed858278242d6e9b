"""Stage gate: comparison of the new model (challenger) with the accepted model (champion) on test images.

Both models are bundles and run with onnxruntime.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.schema import Params
from medtune.data.prepared import open_prepared
from medtune.evaluation.gate import decide, rejection
from medtune.evaluation.gate_decision import GateDecision, ModelStats
from medtune.runtime.paths import RunPaths
from medtune.serving import manifest as bundle_document
from medtune.serving import members
from medtune.serving.any_bundle import load_bundle
from medtune.serving.manifest import BundleError
from medtune.serving.manifest_fields import VOLUMES
from medtune.stages import gate_images, gate_volumes
from medtune.stages.gate_selection import common_images, select_tested
from medtune.tasks import base

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

    A bundle averages the networks of all folds, and the average has seen every patient. Therefore, each test image is
    predicted with a single network. The challenger uses the network of the image's test fold. The champion uses a
    network that has not seen the patient in training or validation. Without patient ids, every image counts as a
    patient. If labels or masks have changed since the champion was accepted, the challenger is rejected.

    Args:
        params: all params.
        paths: where the bundle and the data are.
        champion: the accepted model; None if no model has been accepted yet.

    Returns:
        The decision.

    Raises:
        BundleError: a bundle is damaged.
        InputError: the data is not prepared, or a file of the data has changed.
    """
    prepared, folder = open_prepared(paths), paths.stage("export")
    document = bundle_document.read_manifest(folder)
    folds = members.folds(document)
    if members.REFIT in folds:
        return rejection(["final=refit: this model has seen every patient. Use final=ensemble"], params.gate)
    indices, networks = select_tested(prepared, folds)
    notes: list[str] = []
    champion_document, champion_networks = None, networks
    if champion:
        champion_document = bundle_document.read_manifest(champion.folder)
        bundles = gate_volumes if VOLUMES in document else gate_images
        if reason := bundles.incompatibility(document, champion_document):
            return rejection([f"{reason}. {ACCEPT}"], params.gate)
        champion_folds = members.folds(champion_document)
        if members.REFIT in champion_folds:
            return rejection([f"the champion is a refit network, which has seen every patient. {ACCEPT}"], params.gate)
        selected, champion_networks, notes, changed = common_images(
            prepared, indices, networks, champion.manifest, champion_folds
        )
        indices, networks = indices[selected], networks[selected]
        if not len(indices):
            return rejection([f"the champion was trained on every test patient. {ACCEPT}"], params.gate, notes)
        if changed:
            return rejection([f"{changed}. {ACCEPT}"], params.gate, notes)

    def measure(folder: Path, name: str, document: dict[str, Any], networks: np.ndarray) -> ModelStats:
        """Predict the test images with a bundle, and return its statistics."""
        problems = _problems(folder, document, params)
        if prepared.has_volumes:
            predictions = gate_volumes.predict_volumes(folder, name, document, prepared, indices, networks, params)
        else:
            images = prepared.images[indices]
            if champion and folder == champion.folder:
                images = gate_images.images_for_champion(params, paths, prepared, indices, document)
            predictions = gate_images.predict_images(
                folder, name, document, prepared, indices, networks, images, params
            )
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


def _problems(folder: Path, document: dict[str, Any], params: Params) -> tuple[str, ...]:
    """Return the problems of a bundle: failed self-tests, and a difference from the trained network."""
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
