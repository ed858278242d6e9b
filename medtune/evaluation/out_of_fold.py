"""Pooled validation outputs of all folds, used to fit the calibration and the decision rule.

Every network predicts patients it has not seen. For the metrics of a fold, the test patients of that fold are left
out, so that no label influences the decision for its own patient (cross-fitting).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.outputs import Outputs, OutputsRequest

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Rows = npt.NDArray[np.int64]


def pooled_validation(requests: Sequence[OutputsRequest], outputs: Sequence[Outputs]) -> tuple[Rows, npt.NDArray[Any]]:
    """Concatenate the validation outputs of all folds.

    Args:
        requests: one request per fold.
        outputs: outputs of each fold's network by split, in the same order.

    Returns:
        Image indices (n,) and outputs (n, ...).
    """
    rows = np.concatenate([request.indices["val"] for request in requests])
    return rows, np.concatenate([by_split["val"] for by_split in outputs])


def without_tested_patients(prepared: "PreparedDataset", rows: Rows, tested: Rows) -> npt.NDArray[np.bool_]:
    """Find the images that show no patient of the test images.

    If the split ignores patients, only the test images themselves are excluded.

    Args:
        prepared: prepared data.
        rows: (n,) image indices.
        tested: (t,) indices of the test images.

    Returns:
        (n,) True for each of `rows` that may be used.
    """
    if prepared.info.get("leaked_patients"):
        return ~np.isin(rows, tested)
    return ~np.isin(prepared.patient_ids[rows], prepared.patient_ids[tested])
