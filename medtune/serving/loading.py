"""Opening and running of the model of a bundle, for images and for volumes. All files are verified first."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from medtune.serving import manifest as bundle_document
from medtune.serving.graph_check import check_graph
from medtune.serving.manifest import BundleError
from medtune.serving.one_line import first_line
from medtune.serving.onnxruntime_version import MINIMUM, check_version
from medtune.serving.session import count_operators, open_session

log = logging.getLogger(__name__)


def open_model(
    folder: Path,
    document: dict[str, Any],
    precision: str,
    provider: str,
    threads: int,
    busy_wait: bool,
    input_name: tuple[str, int] | None = None,
) -> onnxruntime.InferenceSession:
    """Verify the SHA-256 of every file and open the model.

    Args:
        folder: folder of the bundle.
        document: content of bundle.json.
        precision: a precision that the bundle contains.
        provider: cpu, cuda or tensorrt.
        threads: number of CPU threads per prediction; 0 for all cores.
        busy_wait: let idle threads spin during a prediction.
        input_name: name of the input and side of its images in pixels; None if the inputs are not images.

    Returns:
        The session, whose inputs and outputs are those of bundle.json.

    Raises:
        BundleError: a file is damaged, the precision is missing, onnxruntime is too old, or the provider is not active.
    """
    model = document["precisions"].get(precision)
    if not model or not model["shipped"]:
        shipped = [name for name, entry in document["precisions"].items() if entry["shipped"]]
        reason = f" ({model['reason']})" if model and model.get("reason") else ""
        if not shipped:
            raise BundleError(
                f'{folder / bundle_document.MANIFEST_FILE}: key "shipped" is false for every precision, so there is no '
                "model. Export the bundle again"
            )
        raise BundleError(f"{folder} has no {precision} model{reason}. Choose one of: {', '.join(shipped)}")
    for name in document["files"]:
        bundle_document.check_file(folder, document, name)
    check_version(document.get("requires", {}).get("onnxruntime", MINIMUM))
    content = bundle_document.read_file(folder, document, model["file"])
    external = model.get("external_data", [])
    session = open_session(
        content, model["file"], provider, precision, threads, busy_wait, input_name, folder, external
    )
    check_graph(session, document, f"{folder / model['file']}")
    if counts := count_operators(session):
        assignment = ", ".join(f"{count} operators on {name}" for name, count in counts.items())
        log.info("%s: %s", model["file"], assignment)
    return session


def run_model(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Run a model. All errors of onnxruntime are converted to RuntimeError.

    Args:
        session: from `open_model`.
        outputs: names of the outputs.
        inputs: arrays by name of the input.

    Returns:
        The outputs.

    Raises:
        RuntimeError: onnxruntime failed, for example because its memory was not sufficient. The message has one line.
        MemoryError: an array cannot be allocated.
    """
    try:
        arrays: list[np.ndarray] = session.run(list(outputs), dict(inputs))
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime has many unrelated classes of errors
        raise RuntimeError(f"onnxruntime cannot run the model: {first_line(error)}") from None
    return arrays
