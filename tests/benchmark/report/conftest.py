import csv

import numpy as np
import pytest

from medtune.benchmark.report.records import TrialId, TrialRecord
from medtune.tasks.classification.metrics import compute_all

CLASSES = ("benign", "malignant")
TRAINABLE = {"linear": 0, "bitfit": 1_000, "lora": 3_000, "full": 90_000}


@pytest.fixture
def make_trials(tmp_path):
    """Create trials whose class scores differ by `strengths[method]`, with the same noise for all methods."""

    def make(strengths, percents=(10,), seeds=(1,), n_patients=24, images=2, noise=0.3, known=True, backbone="vit"):
        patients = np.repeat(np.arange(n_patients), images)
        labels = patients % 2
        shared = np.random.default_rng(0).normal(0, 1, len(labels))
        result = []
        for method, strength in strengths.items():
            for percent in percents:
                for seed in seeds:
                    method_noise = np.random.default_rng([seed, percent, sum(method.encode())]).normal(
                        0, noise, len(labels)
                    )
                    score = strength * (2 * labels - 1) + shared + method_noise
                    identity = TrialId("toy", backbone, method, percent, seed)
                    result.append(write(tmp_path, identity, labels, score, patients, known))
        return result

    return make


def write(root, identity, labels, score, patients, known):
    positive = 1 / (1 + np.exp(-score))
    probabilities = np.stack([1 - positive, positive], axis=1)
    predictions = probabilities.argmax(axis=1)
    folder = root / identity.name.replace(" ", "-")
    folder.mkdir()
    with (folder / "predictions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "patient", "prediction", *(f"prob_{name}" for name in CLASSES)])
        for n, (label, patient, prediction, row) in enumerate(
            zip(labels, patients, predictions, probabilities, strict=True)
        ):
            writer.writerow([f"{n}.png", CLASSES[label], f"p{patient:03}", CLASSES[prediction], *row])
    values = compute_all(labels, probabilities, predictions, patients)
    trainable = TRAINABLE.get(identity.method, 2_000)
    n_patients = len(np.unique(patients))
    result = {
        "key": "k",
        "files": {},
        "lr": [0.001],
        "trials": [{"lr": rate, "epoch": 3, "seconds": 1.0, "validation": {}} for rate in (3e-4, 1e-3, 3e-3)],
        "monitor": "auroc",
        "metrics": {name: {"value": value, "lo": None, "hi": None} for name, value in values.items()},
        "images": {"train": 2 * identity.percent, "val": 8, "test": len(labels)},
        "patients": {"train": identity.percent, "val": 4, "test": n_patients},
        "patients_known": known,
        "protocol": "patient",
        "folds": [1],
        "trainable": trainable,
        "head": 10,
        "backbone_parameters": 90_000,
        "trainable_fraction": trainable / 90_000,
        "peak_memory_mb": None if identity.method == "linear" else 100.5,
        "seconds": 1.25 * identity.percent,
        "images_per_s": 250.0,
        "device": "cpu",
        "threads": 1,
        "classes": list(CLASSES),
        "provenance": {"packages": {"torch": "2.10", "timm": "1.0", "peft": "0.18"}, "git": "abc", "dirty": False},
    }
    return TrialRecord(identity, folder, result, None)
