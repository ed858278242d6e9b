"""Labels shuffled over patients: where patients are kept apart nothing can be learnt, and no figure may say otherwise.

Drawn images, whose stain tells the patient, go through the data stage and stage 1; balanced accuracy is that of all
test images of all chains, by evaluate's own rules. Patients keep their images and exchange their labels.

Under `patient`: with sd the standard deviation of the balanced accuracy over the k shuffles of a head (n - 1), the mean
is within 3 sd / sqrt(k) of chance, and each shuffle within 3 sd of it. One of 24 is beyond 3 sd by chance in one run of
sixteen, where a shuffle happens to follow the stains of these few patients. So the labels of such a one are given to
other patients, of other stains: chance is gone then, a leak would be there still, and is lost.

Under `image`, the control, the stain gives the label away: each shuffle is above chance by more than 3 sd of guessing
image by image, or the test could not fail.
"""

import csv
from itertools import product
from pathlib import Path
from typing import Any

from torture.outcome import Outcome

NUMBER = 8
TITLE = "labels shuffled over patients, through the data stage and stage 1"
TARGET = "under `patient` balanced accuracy within chance ± 3 sd, of each shuffle and of their mean; `image` far above"
LIMIT_S = 1800.0  # on a machine with other work to do
SIZE, SPREAD, CHANCE = 64, 2.0, 0.5
FIRST, OTHERS = 1, 2  # seeds of the drawn patients
HEADS: dict[str, dict[str, Any]] = {"linear": {"kind": "linear"}, "cdtm": {"kind": "cdtm", "centers": 16}}


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """A head under a protocol."""
    counts = {"patient": 24, "image": 6} if full else {"patient": 3, "image": 1}
    own: dict[str, Any] = {"patients": 16, "each": 16, "epochs": 60}
    if not full:
        own = {"patients": 8, "each": 8, "epochs": 12}
    own |= {"folds": 4 if full else 3, "check": full}
    heads = HEADS if full else ["cdtm"]
    return {
        f"{head}-{protocol}": {"head": head, "protocol": protocol, "shuffles": counts[protocol], **own}
        for head, protocol in product(heads, counts)
    }


def inject(
    folder: Path,
    head: str,
    protocol: str,
    shuffles: int,
    patients: int,
    each: int,
    epochs: int,
    folds: int,
    check: bool,
) -> Outcome:
    """Trains `head` on `shuffles` shuffles of the labels of `patients` patients, and judges what it seems to know.

    With `check` the first shuffle's balanced accuracy is held against what the evaluate stage writes.
    """
    import numpy as np

    outcome = Outcome()
    _draw(folder / "raw", patients, each, FIRST)
    params = _params(folder / "raw", head, protocol, epochs, folds)
    found = []
    for seed in range(shuffles):
        _label(folder / "raw", _shuffled(seed, patients), each)
        found.append(train(params, folder, check=check and seed == 0))
    scores = np.array(found)
    if protocol == "image":
        beyond = CHANCE + 3 * (0.25 / (patients * each)) ** 0.5
        for seed, score in enumerate(found):
            known = None if score > beyond else f"balanced accuracy {score:.3f}: a leak would not be seen"
            outcome.count(f"{head}, shuffle {seed}, split by image", known)
        outcome.figure("greatest balanced accuracy of the control", float(scores.max()))
        return outcome
    sd = float(scores.std(ddof=1))
    beyond = [seed for seed, score in enumerate(found) if abs(score - CHANCE) > 3 * sd]
    if beyond:
        _draw(folder / "raw", patients, each, OTHERS)
    for seed, score in enumerate(found):
        fault = None
        if seed in beyond:
            _label(folder / "raw", _shuffled(seed, patients), each)
            again = train(params, folder, check=False)
            said = f"balanced accuracy {score:.3f}, {again:.3f} on other patients, sd {sd:.3f}"
            print(f"{head}, shuffle {seed}: {said}", flush=True)
            fault = None if abs(again - CHANCE) <= 3 * sd else said
        outcome.count(f"{head}, shuffle {seed}", fault)
    outcome.figure("number of shuffles beyond 3 sd, tried again on other patients", len(beyond))
    off = abs(float(scores.mean()) - CHANCE)
    fault = None if off <= 3 * sd / shuffles**0.5 else f"{scores.mean():.3f}, {off / sd * shuffles**0.5:.1f} sd off"
    outcome.count(f"{head}, mean of {shuffles} shuffles", fault)
    outcome.figure("greatest distance of a mean from chance", off)
    outcome.figure("greatest sd over shuffles", sd)
    return outcome


def train(params: Any, folder: Path, check: bool) -> float:
    """Balanced accuracy of all test images after data and frozen; `check`: it is what evaluate writes, too."""
    import json
    import shutil

    import numpy as np

    from medtune.data.manifest import load_prepared
    from medtune.evaluation import outputs as logits
    from medtune.runtime.paths import RunPaths
    from medtune.stages import data, evaluate, frozen
    from medtune.tasks.classification import folds as chain
    from medtune.training.checkpoint import load_trained

    for name in ("out", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    paths = RunPaths(folder / "out", folder / "cache")
    data.run(params, paths)
    prepared = load_prepared(paths.prepared)
    wanted_by_fold, given_by_fold = [], []
    for fold in params.data.split.test_folds:
        artifact = frozen.run(params, paths, fold)
        wanted = logits.OutputsRequest.for_artifact(artifact, prepared)
        given = logits.compute_outputs(wanted, load_trained(artifact), prepared.images, "cpu", 64, lambda by: None)
        wanted_by_fold.append(wanted)
        given_by_fold.append(given)
    judged = chain.evaluate_folds(wanted_by_fold, given_by_fold, prepared, params.evaluate)
    found = chain.pool([fold.test for fold in judged])
    hits = found.predictions == found.labels
    score = float(np.mean([hits[found.labels == label].mean() for label in (0, 1)]))
    if check:
        done = evaluate.run(params, paths)
        said = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))["test"]["balanced_accuracy"]
        if abs(said["value"] - score) > 1e-6:
            raise RuntimeError(f"evaluate says {said['value']}, its parts give {score}")
    return score


def _shuffled(seed: int, patients: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).permutation(np.arange(patients) % 2)


def _draw(root: Path, patients: int, each: int, seed: int) -> None:
    from PIL import Image

    from medtune.data.sources.synthetic import TISSUES, draw

    root.mkdir(exist_ok=True)
    for patient, number in product(range(patients), range(each)):
        pixels = draw(TISSUES[patient % len(TISSUES)], patient, number, SIZE, SPREAD, seed)
        Image.fromarray(pixels).save(root / f"{patient:02}-{number:02}.png")


def _label(root: Path, labels: Any, each: int) -> None:
    rows = [
        (f"{patient:02}-{number:02}.png", f"class{label}", f"P{patient:02}")
        for patient, label in enumerate(labels.tolist())
        for number in range(each)
    ]
    with (root / "data.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "group"), *rows])


def _params(root: Path, head: str, protocol: str, epochs: int, folds: int) -> Any:
    """A backbone without weights: the bundled one has learnt to look past colour, and so past the stain."""
    from medtune.config.load import validate

    split = {"protocol": protocol, "folds": folds, "test_fold": "all"}
    return validate(
        {
            "schedule": "frozen",
            "data": {
                "source": "folder", "root": str(root), "csv": "data.csv", "positive": "class1", "image_size": SIZE,
                "split": split,
            },
            "model": {
                "backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": SIZE},
                "head": HEADS[head], "peft": {"method": "none"},
            },
            "frozen": {"epochs": epochs, "feature_views": 2, "lr": 1e-2, "warmup_epochs": 1},
            "tracking": {"mode": "disabled"},
        }
    )  # fmt: skip
