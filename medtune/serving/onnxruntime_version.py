"""The oldest onnxruntime that runs a graph, by its ONNX operator set."""

import re

import onnxruntime

from medtune.serving.manifest import BundleError

# Older ones refuse ONNX IR version 10, in which graphs are exported.
MINIMUM = "1.18"
# Measured with fp32, fp16 and int8 graphs of a ViT and an EfficientNet; 1.23 runs opset 23, but not in int8.
MINIMUM_BY_OPSET = {22: "1.21", 23: "1.24", 24: "1.24"}


def minimum_for(opset: int) -> str:
    """The oldest onnxruntime, `major.minor`, that runs graphs of this ONNX operator set."""
    return MINIMUM_BY_OPSET.get(opset, MINIMUM)


def check_version(minimum: str = MINIMUM) -> None:
    """Refuse an onnxruntime that is too old.

    Args:
        minimum: `major.minor`, as bundle.json gives it.

    Raises:
        BundleError: the installed one is older; names both versions and the command that installs a newer one.
    """
    if _release(onnxruntime.__version__) >= _release(minimum):
        return
    package = "onnxruntime-gpu" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "onnxruntime"
    raise BundleError(
        f"onnxruntime {onnxruntime.__version__} is installed, this bundle needs >= {minimum}. pip install -U {package}"
    )


def _release(version: str) -> tuple[int, ...]:
    """(major, minor) of a version such as 1.24.0rc1."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
