"""Sample inputs of a bundle with the outputs that the export has computed, for a self-test on another machine."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medtune.serving.manifest import BundleError, read_file
from medtune.serving.one_line import first_line

# Largest allowed differences, for bundles whose bundle.json does not contain `sample_tolerance`.
SAMPLE_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2}
INPUT_FILE, OUTPUT_FILE = "sample_input.npy", "sample_output.npy"


def compare_samples(
    folder: Path, document: dict[str, Any], precision: str, provider: str, run: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, float]:
    """Run the sample input and compare the result with the sample output.

    Args:
        folder: folder of the bundle.
        document: content of bundle.json.
        precision: precision of the model.
        provider: name of the provider, for the message.
        run: function of the model, from inputs to outputs.

    Returns:
        The sample input and the largest absolute difference.

    Raises:
        BundleError: the difference exceeds the tolerance of the precision, a file is damaged, or the model cannot run.
    """
    samples, expected = (read_array(folder, document, name) for name in (INPUT_FILE, OUTPUT_FILE))
    try:
        output = run(samples)
    except RuntimeError as error:
        raise BundleError(f"{folder}: {first_line(error)}. Export the bundle again") from None
    if output.shape != expected.shape:
        raise BundleError(f"{folder}: {OUTPUT_FILE} is {expected.shape}, but the model returns {output.shape}. "
                          "Export the bundle again")  # fmt: skip
    difference = float(np.abs(output - expected).max())
    allowed = document["precisions"][precision].get("sample_tolerance")
    if not difference <= (allowed or SAMPLE_TOLERANCE[precision]):  # also for NaN
        raise BundleError(
            f"{folder}: {precision} outputs on {provider} differ from the bundle's sample "
            f"outputs by {difference:.2g}. Use another precision or provider"
        )
    return samples, difference


def read_array(folder: Path, document: dict[str, Any], name: str) -> np.ndarray:
    """Read a verified .npy file of a bundle.

    Args:
        folder: folder of the bundle.
        document: content of bundle.json.
        name: name of the file.

    Returns:
        The array.

    Raises:
        BundleError: the file is missing, damaged or not an array.
    """
    content = read_file(folder, document, name)
    try:
        # `np.load` would also accept .npz archives.
        return np.asarray(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    except Exception as error:  # NumPy parses the header as Python source, which can raise any error
        raise BundleError(
            f"{folder / name} is not a valid .npy file: {first_line(error)}. Export the bundle again"
        ) from None
