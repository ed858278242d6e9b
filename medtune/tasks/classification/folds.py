"""One chain's figures, its temperature and decision rule from validation alone, and all chains pooled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.outputs import ROLES, Logits, Wanted
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification import calibration, decision
from medtune.tasks.classification.calibration import Calibration
from medtune.tasks.classification.metrics import compute_all
from medtune.tasks.classification.statistics import ClassificationStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Images with what the model says of them, in the order of `rows`.

    Attributes:
        rows: (n,) rows of the manifest.
        labels: (n,) class indices.
        groups: (n,) patients.
        probabilities: (n, classes), calibrated.
        raw: (n, classes), before calibration.
        predictions: (n,) class indices, by the decision rule.
    """

    rows: Ints
    labels: Ints
    groups: npt.NDArray
    probabilities: Floats
    raw: Floats
    predictions: Ints

    def measure(self, ece_bins: int) -> dict[str, float | None]:
        """Every metric; None where undefined."""
        return compute_all(self.labels, self.probabilities, self.predictions, self.groups, ece_bins)

    def stats(self, options: EvaluateParams) -> ClassificationStats:
        """Statistics per patient that every metric follows from."""
        return accumulate(self.labels, self.probabilities, self.predictions, self.groups, options.ece_bins)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n,) the prediction is the label."""
        return self.predictions == self.labels


@dataclass(frozen=True)
class Chain:
    """One chain, judged.

    Attributes:
        fold: its test fold.
        kept: the training stage whose weights these are, `frozen` or `finetune`.
        calibration: fitted on its validation images.
        decision: chosen on its validation images.
        val, test: its images.
    """

    fold: int
    kept: str
    calibration: Calibration
    decision: dict[str, Any]
    val: Scored
    test: Scored

    def record(self) -> dict[str, Any]:
        """What export and the report need of the fold, as JSON values."""
        return {
            "temperature": self.calibration.temperature,
            "decision": self.decision,
            "calibration": self.calibration.as_dict(),
        }


def judge(wanted: Wanted, logits: Logits, prepared: "PreparedDataset", params: EvaluateParams, seed: int) -> Chain:
    """Temperature and decision from the chain's validation images, applied to both its sets."""
    rows = wanted.rows["val"]
    labels, groups = prepared.labels[rows], prepared.patient_ids[rows]
    fitted = calibration.fit(logits["val"], labels, groups, params.calibration, params.ece_bins)
    calibrated = {role: calibration.softmax(logits[role], fitted.temperature) for role in ROLES}
    rule = decision.choose(calibrated["val"], labels, groups, prepared.classes, params.threshold, seed)
    scored = {
        role: Scored(
            wanted.rows[role],
            prepared.labels[wanted.rows[role]],
            prepared.patient_ids[wanted.rows[role]],
            calibrated[role],
            calibration.softmax(logits[role]),
            decide(calibrated[role], rule, prepared.classes),
        )
        for role in ROLES
    }
    return Chain(wanted.fold, wanted.trained.result()["kept"], fitted, rule, scored["val"], scored["test"])


def pool(parts: Sequence[Scored]) -> Scored:
    """All images of several chains, one after the other; an image tested by two chains is there twice."""
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Scored.__dataclass_fields__}
    return Scored(**joined)


def best(chains: Sequence[Chain], ece_bins: int) -> Chain:
    """The chain whose model is handed over: highest validation AUROC, then lowest validation NLL; never by test."""

    def merit(chain: Chain) -> tuple[float, float, int]:
        auroc = chain.val.measure(ece_bins)["auroc"]
        return (-1.0 if auroc is None else auroc, -chain.calibration.nll_after, -chain.fold)

    return max(chains, key=merit)
