import json

import pytest

from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from tests.stages.test_export import build


@pytest.mark.slow
def test_run__int8_is_shipped_only_if_faster_and_its_metrics_are_recorded(make_world):
    world = make_world()
    precisions, tolerances = ["fp32", "int8"], {"int8_metric_drop": 1.0, "calibration_images": 8}
    shipped = build(world, precisions=precisions, int8_min_speedup=0.0, **tolerances).run()
    document = json.loads((shipped.folder / "bundle.json").read_text())
    entry = document["precisions"]["int8"]
    assert entry["shipped"] is True
    assert entry["calibration_images"] == 8
    assert entry["speedup"] == min(entry["speedup_by_batch_size"].values()) > 0
    assert set(entry["speedup_by_batch_size"]) == {"1", "32"}
    assert document["parity"]["int8"]["decision_agreement"] > 0.5
    assert document["parity"]["int8"]["nan"] == 0
    bundle = Bundle.load(shipped.folder, "int8")
    assert 0 < bundle.self_test() < entry["sample_tolerance"] < 0.2
    card = (shipped.folder / "MODEL_CARD.md").read_text()
    assert (
        f"| int8 | model.int8.onnx | yes, {entry['speedup']:.1f} x as fast as fp32 on the CPU that exported it | "
        in card
    )

    not_shipped = build(world, precisions=precisions, int8_min_speedup=1000.0, **tolerances).run()
    document = json.loads((not_shipped.folder / "bundle.json").read_text())
    entry = document["precisions"]["int8"]
    assert entry["shipped"] is False
    assert "below export.int8_min_speedup=1000" in entry["reason"]
    assert entry.keys() >= {"speedup", "balanced_accuracy_drop"}
    assert not (not_shipped.folder / "model.int8.onnx").exists()
    with pytest.raises(BundleError, match="no int8 model"):
        Bundle.load(not_shipped.folder, "int8")
