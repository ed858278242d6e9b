"""Section of a report about external test images."""

import pytest

from medtune.evaluation.external_split import external_section
from medtune.tasks import base

METRICS = base.metrics("segmentation")
EXTERNAL = {"n_images": 2, "n_patients": 1, "metrics": {}}
FACTS = {"patients_known": True, "unit": "volumes", "percent": "95"}


@pytest.mark.parametrize(("trained", "stated"), [(True, True), (False, False)])
def test_external_section__states_that_controls_predict_no_external_images(trained, stated):
    page = external_section(EXTERNAL, METRICS, {**FACTS, "controls": [{"trained": trained}]})
    assert "Never used for training or selection" in page
    assert ("not predicted by the controls: 2 volumes of 1 patients" in page) is stated
    assert external_section(None, METRICS, FACTS) == ""
