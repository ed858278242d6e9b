"""Segmentation in a process that can import only the packages of an installation without training."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
_CODE = """
import sys

class BlockOthers:
    def find_spec(self, name, path=None, target=None):
        allowed = {"numpy", "PIL", "onnxruntime", "medtune", "google", "packaging", "flatbuffers", "nibabel",
                   "typing_extensions", "importlib_resources"}
        top = name.partition(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ImportError(f"{name} is not in the slim image")
        return None

sys.meta_path.insert(0, BlockOthers())
import resource
from pathlib import Path
from medtune.serving.any_bundle import load_bundle
from medtune.serving.volumes.cases import find_cases
from medtune.serving.volumes.predict import write_label_maps
out = Path(sys.argv[3])
code = write_label_maps(load_bundle(sys.argv[1]), find_cases([Path(sys.argv[2])], 1, out), out)
heavy = {"torch", "monai", "scipy", "pydantic", "onnx", "typer", "medtune.config", "medtune.models"} & set(sys.modules)
assert not heavy, heavy
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def predict_slim(bundle: Path, scans: Path, out: Path) -> int:
    """Segment volumes in a new process and return its largest resident memory in bytes.

    Args:
        bundle: folder of the bundle.
        scans: a NIfTI file, or a folder of NIfTI files.
        out: folder of the label maps.

    Returns:
        Bytes.

    Raises:
        AssertionError: a volume was skipped, or another package was imported.
    """
    arguments = [sys.executable, "-c", _CODE, str(bundle), str(scans), str(out)]
    process = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return int(process.stdout)
