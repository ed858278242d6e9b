"""Comparison of heads on a frozen backbone by repeated cross-validation over patients, to choose the default head.

    python -m studies.heads RECIPE [--repeats 6] [--set key=value ...]

The data must be prepared (`medtune data --params RECIPE`). In each repeat, the patients are assigned to five new folds.
Heads that were solved on four folds predict the fifth. All settings of the heads are fixed. The table
has means over the repeats. Its columns are the AUROC of all folds together, the mean AUROC of the folds, the balanced
accuracy of the most probable class, and the negative log-likelihood (NLL).
"""

from collections.abc import Callable

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from medtune.tasks.classification import baseline
from medtune.tasks.classification.metrics import compute_all
from studies import frozen_heads

STRENGTHS = (0.5, 1.0, 2.0, 5.0, 10.0)
FOLDS = 5
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Print the table."""
    arguments = frozen_heads.parser(__doc__).parse_args()
    heads = frozen_heads.open_features(arguments)
    prepared, features = heads.prepared, heads.features
    labels, classes = prepared.labels, len(prepared.classes)

    def regression(name: str) -> Predict:
        return lambda rows, test: baseline.fit_and_predict(
            features.fetch(name, rows), labels[rows], features.fetch(name, test), classes
        )

    def solved(strength: float) -> Predict:
        return lambda rows, test: heads.solve(rows, test, strength).softmax(1).double().numpy()

    settings = {f"baseline: {name}": regression(name) for name in features.names}
    settings |= {f"logistic, C {strength:g}": solved(strength) for strength in STRENGTHS}
    print("| setting | AUROC, pooled | AUROC, mean of folds | balanced accuracy | NLL |\n|-|-|-|-|-|")
    for name, predict in settings.items():
        rows = [_repeat(predict, labels, prepared.patient_ids, classes, seed) for seed in range(arguments.repeats)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " |", flush=True)


def _repeat(predict: Predict, labels: np.ndarray, patients: np.ndarray, classes: int, seed: int) -> list[float]:
    """Return the values of the columns for one repeat; NaN if undefined."""
    probabilities, by_fold = np.zeros((len(labels), classes)), []
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for rows, test in splitter.split(labels, labels, patients):
        probabilities[test] = predict(rows, test)
        part = probabilities[test]
        auroc = compute_all(labels[test], part, part.argmax(1), patients[test])["auroc"]
        by_fold.append(np.nan if auroc is None else auroc)
    whole = compute_all(labels, probabilities, probabilities.argmax(1), patients)
    likelihood = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean()
    values = [whole["auroc"], float(np.nanmean(by_fold)), whole["balanced_accuracy"], float(likelihood)]
    return [np.nan if value is None else value for value in values]


if __name__ == "__main__":
    main()
