"""predictions.csv of a segmentation."""

import pytest

from medtune.tasks.segmentation.predictions import read_predictions


def test_read_predictions__refuses_other_columns(tmp_path):
    (tmp_path / "predictions.csv").write_text("path,patient,prob_a\nx,p,0.5\n")
    with pytest.raises(ValueError, match="are not metrics of labels"):
        read_predictions(tmp_path / "predictions.csv")
