"""Pooled validation outputs of all folds, used to fit the calibration and the decision rule.

Every network predicts patients it has not seen. For the metrics of a fold, calibration and decision rule are fitted
without the test patients of that fold. No label then influences the decision for its own patient (cross-fitting).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.outputs import SPLITS, Outputs, OutputsRequest
from medtune.evaluation.result import Predictions, Rules

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Rows = npt.NDArray[np.int64]  # image indices in the manifest


class PredictingRules(Rules, Protocol):
    """Rules that compute the predictions of a network from its logits."""

    def predict(self, prepared: "PreparedDataset", rows: Rows, logits: npt.NDArray[Any]) -> Any:
        """Compute the predictions for the images `rows` (n,) from their logits (n, ...)."""


RulesT = TypeVar("RulesT", bound=PredictingRules)
PredictionsT = TypeVar("PredictionsT", bound=Predictions)


@dataclass(frozen=True)
class FittedFold(Generic[RulesT, PredictionsT]):
    """Evaluation result of one fold.

    Attributes:
        fold: index of the test fold.
        selected_stage: training stage of the selected weights, `frozen` or `finetune`.
        rules: calibration and decision rule, fitted on the validation images of all folds without the patients of
            `test`.
        val: predictions of the validation images.
        test: predictions of the test images.
    """

    fold: int
    selected_stage: str
    rules: RulesT
    val: PredictionsT
    test: PredictionsT

    def calibrate(self, logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Convert logits of this fold's network to its final output (n, ...)."""
        return self.rules.calibrate(logits)

    def record(self) -> dict[str, Any]:
        """Return the fitted calibration and decision rule as JSON values, for result.json."""
        return self.rules.record()


def cross_fit(
    fit: Callable[["PreparedDataset", Rows, npt.NDArray[Any], EvaluateParams], RulesT],
    requests: Sequence[OutputsRequest],
    outputs: Sequence[Outputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
) -> list[FittedFold[RulesT, Any]]:
    """Fit the rules of each fold and predict the fold's validation and test images.

    The rules of a fold are its calibration and its decision rule. The fit uses the validation images of all folds
    without the test patients of this fold.

    Args:
        fit: function that fits rules on images, given their indices (n,) and logits (n, ...).
        requests: network and image indices of each fold.
        outputs: outputs of each fold's network by split, in the same order.
        prepared: prepared data.
        options: section `evaluate` of the params.

    Returns:
        One result per request.
    """
    rows, logits = pooled_validation(requests, outputs)
    folds = []
    for request, by_split in zip(requests, outputs, strict=True):
        usable = without_tested_patients(prepared, rows, request.indices["test"])
        rules = fit(prepared, rows[usable], logits[usable], options)
        val, test = (rules.predict(prepared, request.indices[split], by_split[split]) for split in SPLITS)
        folds.append(FittedFold(request.fold, request.trained.result()["kept"], rules, val, test))
    return folds


def pooled_validation(requests: Sequence[OutputsRequest], outputs: Sequence[Outputs]) -> tuple[Rows, npt.NDArray[Any]]:
    """Concatenate the validation outputs of all folds.

    Args:
        requests: network and image indices of each fold.
        outputs: outputs of each fold's network by split, in the same order.

    Returns:
        Image indices (n,) and outputs (n, ...).
    """
    rows = np.concatenate([request.indices["val"] for request in requests])
    return rows, np.concatenate([by_split["val"] for by_split in outputs])


def without_tested_patients(prepared: "PreparedDataset", rows: Rows, tested: Rows) -> npt.NDArray[np.bool_]:
    """Find the images of patients without test images.

    If patients are in several splits, only the test images themselves are excluded.

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
