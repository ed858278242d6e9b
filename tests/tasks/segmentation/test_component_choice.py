"""Choice of the labels of which only the largest component is kept."""

import numpy as np
import pytest

from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.component_choice import ComponentEffects, choose_components


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        ([0.1, 0.1, 0, 0, 0], True),
        ([0.5, 0, 0, 0, 0], False),  # a single patient does not decide
        ([0.1, 0.1, 0.1, -0.05, 0], True),
        ([0.1, 0.1, 0.1, -0.05, -0.05], False),  # too many patients get worse
        ([0.1, 0.1, 0.1, -0.4, 0], False),  # the mean falls
        ([0, 0, 0, 0, 0], False),
        ([], False),
    ],
)
def test_choose_components__needs_evidence_from_several_patients(gains, chosen):
    before = np.full((len(gains), 1), 0.5)
    effects = ComponentEffects(
        np.arange(len(gains)), np.arange(len(gains)), before, before + np.array(gains).reshape(-1, 1)
    )
    post_processing, evidence = choose_components(effects, ["organ"], Params())
    assert post_processing.largest == ((1,) if chosen else ())
    assert evidence["patients"] == len(gains)


def test_choose_components__volumes_of_one_patient_count_once():
    gain = np.array([[0.2], [0.2], [0.2], [0.0]])
    effects = ComponentEffects(np.arange(4), np.array(["a", "a", "a", "b"]), np.zeros((4, 1)), gain)
    assert choose_components(effects, ["organ"], Params())[0].largest == ()
