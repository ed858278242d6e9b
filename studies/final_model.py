"""Comparison of exported models (ensemble or refit) and temperatures by nested cross-validation over patients.

    python -m studies.final_model RECIPE [--repeats 6] [--C 2] [--set key=value ...]

The data must be prepared (`medtune data --params RECIPE`). In each repeat, the patients are assigned to five outer
folds. Each outer fold is the test set once, and the other four folds are the data of a user. The data of the user are
divided into five inner folds. On these, temperature and threshold are chosen as in `medtune train`. The head is
`logistic`. The final models predict the outer fold, which no fit or choice has used:

    one fold    the network of the first inner fold alone
    ensemble    the mean probability of the networks of all inner folds
    refit       one network, solved on all images of the inner folds

`per fold` calibrates each network with the temperature of its own validation images. `pooled` calibrates all networks
with one temperature from the validation predictions of all inner folds. The table has means over the repeats.
"""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from medtune.evaluation.thresholds import choose_threshold
from medtune.tasks.classification.calibration import fit_temperature, softmax
from medtune.tasks.classification.metrics import compute_all
from studies import frozen_heads

FOLDS = 5
COLUMNS = ("AUROC, pooled", "AUROC, mean of folds", "balanced accuracy", "Brier", "NLL", "calibration slope")


def main() -> None:
    """Print the table."""
    parser = frozen_heads.parser(__doc__)
    parser.add_argument("--C", type=float, default=2.0)
    arguments = parser.parse_args()
    heads = frozen_heads.open_features(arguments)
    prepared = heads.prepared
    labels, patients, classes = prepared.labels, prepared.patient_ids, len(prepared.classes)

    def solve(rows: np.ndarray, scored: np.ndarray) -> np.ndarray:
        """Solve the head on `rows` and return the logits (n, classes) for `scored`."""
        return heads.solve(rows, scored, arguments.C).double().numpy()

    def final_models(known: np.ndarray, test: np.ndarray, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return probabilities (n, classes) and decisions (n,) for `test` of each final model trained on `known`."""
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        inner = [known[val] for _, val in splitter.split(known, labels[known], patients[known])]
        val_logits, logits = [], []
        for k, val in enumerate(inner):  # the test fold of this network is the next one
            used = np.concatenate([part for j, part in enumerate(inner) if j != (k + 1) % FOLDS])
            train = np.setdiff1d(used, val)
            val_logits.append(solve(train, val))
            logits.append(solve(used, test))
        whole, pooled = solve(known, test), np.concatenate(val_logits)
        rows = np.concatenate(inner)
        per_fold = [
            fit_temperature(fold_logits, labels[val], patients[val]).temperature
            for fold_logits, val in zip(val_logits, inner, strict=True)
        ]
        common = fit_temperature(pooled, labels[rows], patients[rows]).temperature

        def decide(probabilities: np.ndarray, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Return the probabilities and the decisions. The threshold of two classes is chosen on `validation`."""
            if classes > 2:
                return probabilities, probabilities.argmax(1)
            choice = choose_threshold(validation[:, 1], labels[rows] == 1, patients[rows], "balanced_accuracy")
            return probabilities, (probabilities[:, 1] >= choice.threshold).astype(np.int64)

        def average(temperatures: list[float]) -> tuple[np.ndarray, np.ndarray]:
            """Return the mean probabilities of all networks and the decisions."""
            validation = [softmax(fold_logits, t) for fold_logits, t in zip(val_logits, temperatures, strict=True)]
            members = [softmax(fold_logits, t) for fold_logits, t in zip(logits, temperatures, strict=True)]
            return decide(np.mean(members, axis=0), np.concatenate(validation))

        return {
            "one fold, per fold": decide(softmax(logits[0], per_fold[0]), softmax(pooled, common)),
            "one fold, pooled": decide(softmax(logits[0], common), softmax(pooled, common)),
            "ensemble, per fold": average(per_fold),
            "ensemble, pooled": average([common] * FOLDS),
            "ensemble, uncalibrated": average([1.0] * FOLDS),
            "refit, pooled": decide(softmax(whole, common), softmax(pooled, common)),
            "refit, uncalibrated": decide(softmax(whole), softmax(pooled)),
        }

    results: dict[str, list[list[float]]] = {}
    for seed in range(arguments.repeats):
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        by_name: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        for known, test in splitter.split(labels, labels, patients):
            for name, (probabilities, decisions) in final_models(known, test, seed).items():
                by_name.setdefault(name, []).append((test, probabilities, decisions))
        for name, parts in by_name.items():
            results.setdefault(name, []).append(_metrics(parts, labels, patients))
    print(f"| final model, temperature | {' | '.join(COLUMNS)} |\n|-|{'-|' * len(COLUMNS)}")
    for name, rows in results.items():
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.nanmean(rows, axis=0)) + " |")


def _metrics(
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], labels: np.ndarray, patients: np.ndarray
) -> list[float]:
    """Return the values of `COLUMNS`, NaN if undefined. Each part has rows, probabilities and decisions of a fold."""
    by_fold = [compute_all(labels[test], p, decided, patients[test])["auroc"] for test, p, decided in parts]
    rows, probabilities, decisions = (np.concatenate([part[k] for part in parts]) for k in range(3))
    whole = compute_all(labels[rows], probabilities, decisions, patients[rows])
    likelihood = -np.log(np.maximum(probabilities[np.arange(len(rows)), labels[rows]], 1e-12)).mean()
    defined = [value for value in by_fold if value is not None]
    values = [
        whole["auroc"], float(np.mean(defined)), whole["balanced_accuracy"], whole["brier"], float(likelihood),
        whole.get("calibration_slope"),
    ]  # fmt: skip
    return [np.nan if value is None else value for value in values]


if __name__ == "__main__":
    main()
