"""Old releases of onnxruntime: the minimum version runs a bundle, older versions are rejected."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from medtune.cli.main import call
from medtune.config.schema import ExportParams
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.serving.onnxruntime_version import MINIMUM, MINIMUM_BY_OPSET, check_version, minimum_for

PROJECT = Path(__file__).resolve().parents[2]
UNREACHABLE = re.compile("Failed to fetch|Request failed|error sending request|dns error", re.IGNORECASE)
# The newest version of CPython with wheels of onnxruntime 1.18.
NEWEST_PYTHON = (3, 12)


def test_minimum_for__covers_every_supported_opset():
    limits = {type(limit).__name__: limit for limit in ExportParams.model_fields["opset"].metadata}
    opsets = range(limits["Ge"].ge, limits["Le"].le + 1)
    assert max(MINIMUM_BY_OPSET) == opsets[-1]
    assert [minimum_for(opset) for opset in opsets] == ["1.18"] * 4 + ["1.21", "1.24", "1.24"]


@pytest.mark.parametrize("minimum", [MINIMUM, "0.0", ".".join(onnxruntime.__version__.split(".")[:2])])
def test_check_version__accepts_this_and_newer_versions(minimum):
    check_version(minimum)


def test_load__error_names_both_versions_and_the_command(by_hand, tmp_path, capsys):
    folder = by_hand.write(tmp_path / "bundle", requires={"onnxruntime": "99.10"})
    installed = f"onnxruntime {onnxruntime.__version__} is installed"
    message = f"{installed}, but this bundle needs >= 99.10. Run pip install -U onnxruntime"
    with pytest.raises(BundleError, match=f"^{re.escape(message)}(-gpu)?$"):
        Bundle.load(folder)
    assert call(["verify", str(folder)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.mark.parametrize("requires", [{"onnxruntime": 1.18}, {"onnxruntime": "new"}, "1.18"])
def test_load__rejects_an_invalid_minimum_version(by_hand, tmp_path, requires):
    folder = by_hand.write(tmp_path / "bundle", requires=requires)
    with pytest.raises(BundleError, match="expected a mapping such as"):
        Bundle.load(folder)


@pytest.fixture(scope="module")
def oldest_python(tmp_path_factory) -> Path:
    """Create an environment with the oldest supported onnxruntime and return its interpreter."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        pytest.skip(f"onnxruntime {MINIMUM} has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}")
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    uv, python = Path(sys.executable).with_name("uv"), folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    packages = (f"onnxruntime=={MINIMUM}.*", "numpy<2", "pillow", "typer", "imagecodecs", "tifffile")
    install = [uv, "pip", "install", "--quiet", "--python", python, *packages]
    process = subprocess.run(install, capture_output=True, text=True, timeout=500)
    if process.returncode and UNREACHABLE.search(process.stderr):
        pytest.skip("the package registry cannot be reached")
    assert process.returncode == 0, process.stderr
    return python


def run(python: Path, *arguments: object) -> str:
    """Run a command in that environment and return its stdout."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command_line = [str(argument) for argument in (python, *arguments)]
    process = subprocess.run(command_line, env=environment, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("onnxruntime")
def test_oldest__verifies_a_bundle_and_predicts(oldest_python, bundle_folder, image_folder):
    assert run(oldest_python, "-c", "import onnxruntime; print(onnxruntime.__version__)").startswith(f"{MINIMUM}.")
    assert run(oldest_python, "-m", "medtune", "verify", bundle_folder).startswith("sound: 3 files verified")
    assert len(run(oldest_python, "-m", "medtune", "predict", bundle_folder, image_folder).splitlines()) == 6


@pytest.fixture(scope="module")
def graph():
    """Export the default network as an ONNX graph."""
    from benchmarks.inference_model import InferenceModel
    from medtune.config.load import load
    from medtune.export.onnx_graph import to_onnx
    from medtune.models.classifier import build

    params = load()
    return to_onnx(InferenceModel(build(params, 3), 1.0), params.data.image_size, params.export.opset, {})


@pytest.mark.slow
@pytest.mark.xdist_group("onnxruntime")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_oldest__same_outputs_as_the_newest_version(oldest_python, graph, tmp_path, precision):
    from onnx import ModelProto

    from medtune.config.load import load
    from medtune.export.fp16 import to_half
    from medtune.export.int8 import to_int8
    from medtune.export.precisions import predictor
    from medtune.serving.samples import SAMPLE_TOLERANCE

    size = load().data.image_size
    images = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    model_proto = ModelProto()
    model_proto.CopyFrom(graph)
    convert = {
        "fp32": lambda: model_proto,
        "fp16": lambda: to_half(model_proto),
        "int8": lambda: to_int8(model_proto, images),
    }
    content = convert[precision]().SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content)
    np.save(tmp_path / "images.npy", images)
    code = """
import sys
from pathlib import Path
import numpy as np
from medtune.serving.session import open_session
folder, precision = Path(sys.argv[1]), sys.argv[2]
session = open_session((folder / "model.onnx").read_bytes(), "model.onnx", "cpu", precision, threads=1)
np.save(folder / "output.npy", session.run(None, {"images": np.load(folder / "images.npy")})[0])
"""
    run(oldest_python, "-c", code, tmp_path, precision)
    difference = np.abs(np.load(tmp_path / "output.npy") - predictor(content)(images)).max()
    assert difference < SAMPLE_TOLERANCE[precision]
