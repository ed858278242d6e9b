"""Validation outputs of all folds together, from which calibration and decisions are chosen.

Every network is applied to patients that it has not seen. For the metrics of a fold, its test patients are left out, so
that no label decides about its own patient (cross-fitting).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medtune.evaluation.outputs import Outputs, OutputsRequest

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Rows = npt.NDArray[np.int64]


def pooled_validation(requests: Sequence[OutputsRequest], outputs: Sequence[Outputs]) -> tuple[Rows, npt.NDArray]:
    """Rows (n,) and outputs (n, ...) of the validation images of all folds, one fold after the other.

    Args:
        requests: one per fold.
        outputs: of each fold's network by split, in the same order.
    """
    rows = np.concatenate([request.indices["val"] for request in requests])
    return rows, np.concatenate([one["val"] for one in outputs])


def not_tested(prepared: "PreparedDataset", rows: Rows, tested: Rows) -> npt.NDArray[np.bool_]:
    """Which of `rows` (n,) do not show a patient of the test images `tested`.

    If the split ignores patients, only the test images themselves are left out.
    """
    if prepared.info.get("leaked_groups"):
        return ~np.isin(rows, tested)
    return ~np.isin(prepared.patient_ids[rows], prepared.patient_ids[tested])
