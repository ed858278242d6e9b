from types import SimpleNamespace

import numpy as np
import pytest

from medtune.config.schema import ExportParams
from medtune.tasks.segmentation import export


def parity(agreement=1.0, volume=1.0, dice=0.9, reference=0.9):
    volumes = {"volumes": 2, "label_agreement_min": volume, "dice": dice, "dice_reference": reference}
    return {"label_agreement": agreement, "volumes": volumes}


@pytest.mark.parametrize(
    ("values", "precision", "message"),
    [
        ({}, "fp32", None),
        ({"agreement": 0.998}, "fp32", "only 99.800 % of the voxels of the windows keep their label"),
        ({"volume": 0.9985}, "fp32", "only 99.850 % of the voxels of a volume keep their label"),
        ({"agreement": 0.9, "volume": 0.9}, "fp16", None),
        ({"dice": 0.898}, "fp16", "Dice falls by 0.002; export.max_metric_drop allows 0.001"),
        ({"dice": 0.8995}, "fp16", None),
        ({"dice": 0.95}, "fp16", None),
        ({"dice": None}, "fp16", None),
    ],
)
def test_rejection_reason__depends_on_the_precision(values, precision, message):
    assert export.rejection_reason(parity(**values), precision, ExportParams()) == message


def test_agreement__counts_voxels():
    reference = np.zeros((2, 2, 2, 2, 2))
    reference[:, 1] = 1
    output = reference.copy()
    output[0, :, 0, 0, 0] = (1, 0)
    result = export.agreement(reference, output, np.zeros((2, 2, 2, 2)), {}, 0.0)
    assert result == {"label_agreement": 15 / 16, "label_agreement_min": 7 / 8}


def test_compare_volumes__measures_dice_against_the_masks():
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2] = 1
    half = truth.copy()
    half[0] = 0
    store = SimpleNamespace(truth=lambda row: truth, entries=[SimpleNamespace(spacing=(1.0, 1.0, 1.0))])
    prepared = SimpleNamespace(classes=("organ",), volumes=store)
    result = export.compare_volumes(prepared, [0], [truth], [half])
    assert result["dice_reference"] == 1
    assert result["dice"] == pytest.approx(2 / 3)
    assert result["label_agreement_min"] == 0.75
    assert export.losses({"volumes": result})["dice_drop"] == pytest.approx(1 / 3)


def test_card__names_the_components_that_remain():
    document = {
        "classes": ["liver", "tumor"],
        "volumes": {"channels": ["CT"], "post_processing": {"largest": [1], "min_volume_mm3": 20.0}},
    }
    texts = export.card(document)
    assert texts["purpose"] == "Segments liver, tumor in volumes of CT."
    assert "Only the largest component of liver is kept. Components below 20 mm³ are removed." in texts["decision"]
