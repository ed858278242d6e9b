"""Prediction without torch: serving imports only the packages of the slim installation.

8-bit PNG, JPEG, BMP and WebP images require only numpy and Pillow. Other formats require imagecodecs and tifffile, and
DICOM files require pydicom (extra `dicom`). NIfTI files require nibabel (extra `volumes`).
"""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((PROJECT / "medtune" / "serving").rglob("*.py"))
ALLOWED = {"numpy", "PIL", "onnxruntime", "medtune.serving", *sys.stdlib_module_names}
# Packages of extras and of rare file formats, which are imported lazily.
LAZY = {
    "http.py": {"fastapi", "starlette", "uvicorn"},
    "uploads.py": {"python_multipart", "starlette"},  # installed with FastAPI
    "dicom.py": {"pydicom"},
    "dicom_codecs.py": {"pydicom", "imagecodecs"},
    "dicom_display.py": {"pydicom"},
    "dicom_limits.py": {"pydicom.encaps"},
    "png.py": {"imagecodecs"},
    "tiff.py": {"tifffile"},
    "slide.py": {"tifffile", "zarr"},
    "geometry.py": {"nibabel"},
    "nifti.py": {"nibabel"},
    "nifti_header.py": {"nibabel"},
    "nifti_space.py": {"nibabel"},
    "dicom_slice.py": {"pydicom"},
    "dicom_seg.py": {"highdicom", "pydicom"},
    "dicom_sources.py": {"pydicom"},
}

BLOCKED = """
import sys

class BlockOthers:
    def find_spec(self, name, path=None, target=None):
        allowed = {"numpy", "PIL", "onnxruntime", "medtune", "google", "packaging", "flatbuffers"}
        top = name.partition(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ImportError(f"{name} is not in the slim image")
        return None

sys.meta_path.insert(0, BlockOthers())
from pathlib import Path
from medtune.serving.bundle import Bundle
from medtune.serving.predict import find_images, write_predictions
code = write_predictions(Bundle.load(sys.argv[1]), find_images([Path(sys.argv[2])]))
heavy = {"torch", "timm", "pydantic", "onnx", "typer", "medtune.config", "medtune.models"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def load_serving_conftest() -> ModuleType:
    """Return the conftest module of the serving tests, which writes a bundle without an export."""
    spec = importlib.util.spec_from_file_location("serving_conftest", PROJECT / "tests" / "serving" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Return a bundle and a folder of images for it."""
    bundle = load_serving_conftest().write_bundle(tmp_path / "bundle")
    (tmp_path / "images").mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    return [str(bundle), str(tmp_path / "images")]


def imports(path: Path) -> set[str]:
    """Return all modules that a file imports, except below `if TYPE_CHECKING`."""
    modules: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(path.read_text(encoding="utf-8")))
    return modules


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_files__import_only_slim_packages(path):
    allowed = ALLOWED | LAZY.get(path.name, set())
    foreign = {
        name
        for name in imports(path)
        if name not in allowed and name.partition(".")[0] not in allowed and not name.startswith("medtune.serving.")
    }
    assert not foreign


def test_predict__works_without_any_other_package(arguments):
    process = subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == 4


@pytest.mark.slow
def test_predict__works_in_an_environment_from_the_predict_lock(arguments, tmp_path):
    slim = tmp_path / "slim"
    for path in [PROJECT / "medtune" / "__init__.py", *SHIPPED]:
        target = slim / path.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "venv" / "bin" / "python"
    lock = PROJECT / "requirements" / "predict.lock"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock], check=True, timeout=500
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    process = subprocess.run(
        [python, "-c", BLOCKED, *arguments],
        cwd=slim,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == 4
    without_torch = subprocess.run([python, "-c", "import torch"], env=clean, capture_output=True, timeout=60)
    assert without_torch.returncode == 1
