"""Predictions of a bundle with its post-processing and temperature."""

from functools import partial

import numpy as np

from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation import evaluation
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.temperature_grid import TEMPERATURES
from medtune.tasks.segmentation.voxel_samples import VoxelSample
from tests.tasks.segmentation.degraded_volumes import LABELS, degraded


def test_from_bundle__equals_the_fold_with_the_same_post_processing(prepared, requests, outputs, folds, params):
    fold, request = folds[0], requests[0]
    rows = request.indices["test"]
    document = {
        "classes": list(LABELS),
        "params": {"task": params.task.model_dump()},
        "volumes": {"post_processing": fold.rules.post_processing.document()},
    }
    segmentations = [degraded(prepared, row) for row in rows.tolist()]
    for output in (segmentations, outputs[0]["test"]):
        predictions = evaluation.from_bundle(prepared, rows, output, document)
        assert repr(predictions.cases.tolist()) == repr(fold.test.cases.tolist())
        assert (predictions.maps[1]() == fold.test.maps[1]()).all()


def test_from_bundle__uses_the_temperature_of_the_decision(prepared, params):
    def recorded(row: int) -> RecordedSegmentation:
        mask = np.asarray(prepared.volumes.truth(row))
        voxels = VoxelSample(np.zeros(9, np.uint8), np.tile(np.array([[0.9, 0.05, 0.05, 0]], np.float32), (9, 1)))
        doubt = np.outer(np.log(TEMPERATURES) + 2, np.array([0.1, 0.2, np.nan]))
        return RecordedSegmentation(mask, (0.2, 0.4, np.nan), doubt, voxels)

    rows = np.array([1, 3])
    outputs = SegmentedVolumes([partial(recorded, row) for row in rows.tolist()], params.task)
    decision = {**PostProcessing().document(), "temperature": 2.0}
    for document in ({"decision": decision}, {"volumes": {"post_processing": decision, "temperature": 2.0}}):
        found = evaluation.from_bundle(prepared, rows, outputs, document)
        expected = [0.1 * (np.log(2) + 2), 0.2 * (np.log(2) + 2), np.nan]
        np.testing.assert_allclose(found.uncertainty, [expected] * 2, rtol=1e-9)
        calibration = evaluation.calibration_facts([], found, 0.95)
        assert calibration["test"]["ece_after"]["value"] > calibration["test"]["ece_before"]["value"]
    older = evaluation.from_bundle(prepared, rows, outputs, {"decision": PostProcessing().document()})
    np.testing.assert_array_equal(older.uncertainty, [[0.2, 0.4, np.nan]] * 2)
