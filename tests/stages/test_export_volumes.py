"""Stage export for volumes: a bundle that gives the label maps of stage evaluate, and its model card."""

import json

import nibabel as nib
import numpy as np
import pytest

from medtune.serving.members import folds
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.stages import evaluate, export, gate

pytestmark = pytest.mark.slow


def test_run__bundle_segments_like_the_evaluation(make_volume_world):
    world = make_volume_world(test_fold=0)
    changed = world.params.export.model_copy(
        update={"batch_sizes": [2], "parity_images": 8, "precisions": ["fp32", "int8"]}
    )
    params = world.params.model_copy(update={"export": changed})
    evaluated = evaluate.run(params, world.paths)
    artifact = export.run(params, world.paths)
    assert export.run(params, world.paths) == artifact
    document = json.loads((artifact.folder / "bundle.json").read_text(encoding="utf-8"))
    names = {"model.onnx", "MODEL_CARD.md", "checklist.md", "sample_input.npy", "sample_output.npy"}
    assert names <= set(document["files"])
    assert "preprocessing" not in document
    parity = document["parity"]["fp32"]
    assert parity["max_abs_diff"] <= 1e-4
    assert parity["volumes"]["label_agreement_min"] >= 0.999
    assert parity["consumer"]["against"] == "segmentations"
    assert parity["consumer"]["label_agreement_min"] >= 0.999
    assert document["precisions"]["int8"]["reason"].startswith("int8 is not supported for volumes")
    assert folds(document) == [0, 1, 2]
    assert parity["features"]["distance_change"] < 1e-3
    assert document["volumes"]["feature_limit"] == evaluated.result()["decision"]["feature_limit"]
    assert document["volumes"]["feature_limit"]["patients"] == 9
    bundle = VolumeBundle.load(artifact.folder)
    assert bundle.settings.feature_limit is not None
    assert bundle.self_test() < 1e-4
    written = sorted((evaluated.folder / "segmentations").iterdir())
    assert 0 < parity["consumer"]["volumes"] <= len(written) == 3
    assert all(np.asarray(nib.load(path).dataobj).dtype == np.uint8 for path in written)
    card = (artifact.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for text in ("1 = upper organ, 2 = lower organ, 3 = lesion", "- Channels: phantom.", "to 5 x 5 x 6 mm",
                 "`zscore`", "| spacing X (mm) |", "test volumes of"):  # fmt: skip
        assert text in card
    assert not gate.run(params, world.paths, None).challenger.faults
