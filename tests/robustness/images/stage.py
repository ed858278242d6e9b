"""The data stage on a folder of images, in this process or in a separate one."""

import io
import json
import resource
import subprocess
import sys
from contextlib import redirect_stderr

from medtune.cli.main import call
from medtune.config.project import PROJECT
from tests.robustness.isolated import isolated
from tests.robustness.profile import is_full

HANG_SECONDS, SIZE = 400, 16
PARAMS = {
    "data": {"source": "folder", "positive": "b", "image_size": SIZE, "split": {"protocol": "image", "folds": 3}},
    "model": {"backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": SIZE}},
}


def run_data(folder, on_bad_image):
    """Run the data stage: in this process, or in a separate one to measure its memory.

    Returns:
        Exit code, stderr, and memory in bytes (0 in this process).
    """
    path = folder / f"{on_bad_image}.yaml"
    data = PARAMS["data"] | {"root": str(folder / "root"), "on_bad_image": on_bad_image}
    path.write_text(json.dumps(PARAMS | {"data": data}))
    words = ["data", "--params", str(path), "--out", str(folder / on_bad_image)]
    if is_full():
        return isolated(run_process, words)
    with redirect_stderr(io.StringIO()) as stderr:
        return call(words), stderr.getvalue(), 0


def run_process(words):
    try:
        process = subprocess.run(
            [sys.executable, "-m", "medtune", *words], cwd=PROJECT, capture_output=True, text=True, timeout=HANG_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None, f"did not end within {HANG_SECONDS} s", 0
    return process.returncode, process.stderr, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
