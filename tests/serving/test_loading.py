"""Errors of onnxruntime while a model runs."""

import numpy as np
import pytest

from medtune.serving.loading import run_model
from medtune.serving.session import open_session
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.failing_bundle import FATAL_VALUE, write_failing_bundle


@pytest.mark.parametrize(("failure", "reason"), [("index", "out of data bounds"), ("memory", "")])
def test_run_model__errors_are_one_line(tmp_path, failure, reason):
    folder = write_failing_bundle(tmp_path / "bundle", failure)
    session = open_session((folder / "model.onnx").read_bytes(), "model.onnx", "cpu", "fp32", threads=1)
    windows = np.ones((1, 1, *tiny.PATCH), np.float32)
    (expected,) = run_model(session, ["probabilities"], {"windows": windows})
    np.testing.assert_allclose(expected, tiny.probabilities(windows), atol=1e-5)
    fatal = windows.copy()
    fatal[0, 0, 1, 2, 3] = (FATAL_VALUE - 100) / 100
    with pytest.raises(RuntimeError, match=f"^onnxruntime cannot run the model: .*{reason}") as error:
        run_model(session, ["probabilities"], {"windows": fatal})
    assert "\n" not in str(error.value)
    (again,) = run_model(session, ["probabilities"], {"windows": windows})
    np.testing.assert_array_equal(again, expected)
