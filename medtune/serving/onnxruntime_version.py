"""Minimum version of onnxruntime for a graph, given its ONNX operator set."""

import re

import onnxruntime

from medtune.serving.manifest import BundleError

# Oldest supported version. Older versions do not support ONNX IR version 10, which the export uses.
MINIMUM = "1.18"
# Oldest version by ONNX operator set (opset), tested with fp32, fp16 and int8 graphs of a ViT and an EfficientNet.
MINIMUM_BY_OPSET = {22: "1.21", 23: "1.24", 24: "1.24"}


def minimum_for(opset: int) -> str:
    """Return the oldest version of onnxruntime, as `major.minor`, that runs graphs of an ONNX operator set."""
    return MINIMUM_BY_OPSET.get(opset, MINIMUM)


def check_version(minimum: str = MINIMUM) -> None:
    """Check that the installed onnxruntime is recent enough.

    Args:
        minimum: `major.minor`, from bundle.json.

    Raises:
        BundleError: the installed version is older. The message names both versions and the command to update.
    """
    if _release(onnxruntime.__version__) >= _release(minimum):
        return
    package = "onnxruntime-gpu" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "onnxruntime"
    raise BundleError(
        f"onnxruntime {onnxruntime.__version__} is installed, but this bundle needs >= {minimum}. "
        f"Run pip install -U {package}"
    )


def _release(version: str) -> tuple[int, ...]:
    """Return (major, minor) of a version such as 1.24.0rc1."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
