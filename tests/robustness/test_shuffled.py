"""Labels that are shuffled over patients cannot be learned. A higher score would be due to a leak.

The stain of the drawn images reveals the patient. The images are prepared and trained on (stage 1). Balanced accuracy
is computed from all test images of all folds, as in the evaluate stage.

Protocol `patient`: each score must be within 3 standard deviations (over the shuffles) of 0.5, and their mean within
3 standard errors. One of 24 shuffles exceeds this by chance in one of 16 runs, because it happens to follow the stains
of these patients. It is therefore repeated on other patients, where a leak would be noticed as well.

Protocol `image` is the control: the stain reveals the label, and each score must be higher than guesses explain.
"""

import csv
import json
from itertools import product

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from medtune.config.load import validate
from medtune.data import split_protocols
from medtune.data.manifest import load_prepared
from medtune.data.sources.synthetic import TISSUES, draw
from medtune.evaluation.outputs import OutputsRequest
from medtune.runtime.paths import RunPaths
from medtune.stages import data, evaluate, frozen
from medtune.tasks.classification.folds import evaluate_folds, pool
from medtune.training.trained_outputs import compute_trained_outputs
from tests.robustness.faults import Faults
from tests.robustness.leaks.listings import folds_by_image
from tests.robustness.profile import is_full, scale

pytestmark = [
    pytest.mark.faults(
        row=8,
        title="labels are shuffled over the patients before stage 1 (training of the head)",
        target="With protocol `patient`, each balanced accuracy is within 3 standard deviations (sd) of chance, and "
        "the mean is within 3 standard errors. With protocol `image`, the balanced accuracy is far above "
        "chance",
    ),
    pytest.mark.slow,
    pytest.mark.xdist_group("shuffled"),
    pytest.mark.timeout(1800),
]
SIZE, CHANCE = 64, 0.5
PATIENTS, EACH, EPOCHS, FOLDS = scale((8, 8, 12, 3), (16, 16, 60, 4))
HEADS = {"logistic": {"kind": "logistic"}, "cdtm": {"kind": "cdtm", "centers": 16}}


@pytest.mark.parametrize("head", scale(["logistic"], list(HEADS)))
def test_shuffled__labels_cannot_be_predicted(faults, tmp_path, head):
    shuffle_by_patient(faults, tmp_path, head, scale(3, 24))


@pytest.mark.parametrize("head", scale(["logistic"], list(HEADS)))
def test_shuffled__labels_can_be_predicted_with_a_split_by_image(faults, tmp_path, head):
    limit = CHANCE + 3 * (0.25 / (PATIENTS * EACH)) ** 0.5
    for seed in range(scale(1, 6)):
        score = train(tmp_path / str(seed), head, "image", seed, verify=is_full() and seed == 0)
        faults.measure("greatest balanced accuracy with protocol `image`", score)
        problem = None if score > limit else f"balanced accuracy {score:.3f} would not reveal a leak"
        faults.count(f"{head}, shuffle {seed}, split by image", problem)


@pytest.mark.nightly
def test_shuffled__patients_in_two_splits_are_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(split_protocols, "grouped_stratified_folds", folds_by_image)
    shuffle_by_patient(faults := Faults(), tmp_path, "logistic", 3)
    assert any("mean of 3 shuffles" in line for line in faults.lost)


def shuffle_by_patient(faults, folder, head, n_shuffles):
    scores = np.array([train(folder / str(seed), head, "patient", seed) for seed in range(n_shuffles)])
    sd, distance = float(scores.std(ddof=1)), abs(float(scores.mean()) - CHANCE)
    for seed, score in enumerate(scores):
        problem = None
        if abs(score - CHANCE) > 3 * sd:
            again = train(folder / f"{seed}-again", head, "patient", seed, patients_seed=2)
            faults.measure("number of shuffles beyond 3 sd, repeated on other patients", 1)
            if abs(again - CHANCE) > 3 * sd:
                problem = f"balanced accuracy {score:.3f}, {again:.3f} on other patients, sd {sd:.3f}"
        faults.count(f"{head}, shuffle {seed}", problem)
    within = distance <= 3 * sd / n_shuffles**0.5
    faults.count(f"{head}, mean of {n_shuffles} shuffles", None if within else f"{scores.mean():.3f}, sd {sd:.3f}")
    faults.measure("greatest distance of a mean from chance", distance)
    faults.measure("greatest sd of the shuffles", sd)


def train(folder, head, protocol, seed, patients_seed=1, verify=False):
    """Train on labels that are shuffled over patients and return the balanced accuracy.

    `verify` compares it with the result of the evaluate stage.
    """
    draw_images(folder / "images", np.random.default_rng(seed).permutation(np.arange(PATIENTS) % 2), patients_seed)
    params, paths = params_for(folder / "images", head, protocol), RunPaths(folder / "out", folder / "cache")
    data.run(params, paths)
    prepared = load_prepared(paths.prepared)
    trained = [frozen.run(params, paths, fold) for fold in params.data.split.test_folds]
    requests = [OutputsRequest.for_artifact(artifact, prepared) for artifact in trained]
    outputs = list(compute_trained_outputs(requests, prepared.images, "cpu", 64, lambda *_: None))
    test = pool([fold.test for fold in evaluate_folds(requests, outputs, prepared, params.evaluate)])
    score = balanced_accuracy_score(test.labels, test.predictions)
    if verify:
        metrics = json.loads((evaluate.run(params, paths).folder / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["test"]["balanced_accuracy"]["value"] == pytest.approx(score, abs=1e-6)
    return score


def draw_images(root, labels, seed):
    root.mkdir(parents=True)
    rows = [("path", "label", "group")]
    for patient, number in product(range(PATIENTS), range(EACH)):
        pixels = draw(TISSUES[patient % len(TISSUES)], patient, number, SIZE, 2.0, seed)
        rows.append((f"{patient:02}-{number:02}.png", f"class{labels[patient]}", f"P{patient:02}"))
        Image.fromarray(pixels).save(root / rows[-1][0])
    with (root / "data.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def params_for(root, head, protocol):
    """Return params with a random backbone, because the bundled weights ignore color.

    The CNN is more sensitive than test_vit, whose features separate the stains of some shuffles poorly.
    """
    folder = {"source": "folder", "root": str(root), "csv": "data.csv", "positive": "class1", "image_size": SIZE}
    backbone = {"backbone": "test_resnet", "weights": "none"}
    return validate({
        "schedule": "frozen",
        "data": {**folder, "split": {"protocol": protocol, "folds": FOLDS, "test_fold": "all"}},
        "model": {**backbone, "head": HEADS[head], "peft": {"method": "none"}},
        "frozen": {"epochs": EPOCHS, "feature_views": 2, "lr": 1e-2, "warmup_epochs": 1},
        "tracking": {"mode": "disabled"},
    })  # fmt: skip
