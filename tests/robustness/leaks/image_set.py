"""A small folder of images, the real data stage on it, and its output, read without the loaders of MedTune."""

import csv
import json
from functools import cached_property
from itertools import combinations

import numpy as np
from PIL import Image

from medtune.cli.main import call
from medtune.data.sources import breakhis
from tests.robustness.leaks.listings import is_separated, leaked_patients

FOLDER = {"data.source": "folder", "data.csv": "data.csv", "data.positive": "yes"}
BREAKHIS = {"data.source": "breakhis"}
MISLABELED = breakhis.MISLABELED_PATIENT


class ImageSet:
    """Images in `root`, listed by path, label and patient in `listed`; after `prepare`, the exit code and message."""

    def __init__(self, folder, capsys):
        self.root, self.out, self.capsys = folder / "images", folder / "out", capsys
        self.root.mkdir()
        self.listed, self.code, self.error = [], 0, ""

    def draw(self, patients, each, seed):
        """Write smooth random images, `each` per patient."""
        for number, image in enumerate(random_images(patients * each, seed)):
            self.add(f"{number:03}.png", image, number // each)

    def add(self, name, image, patient):
        image.save(self.root / name)
        self.listed.append((name, ("no", "yes")[patient % 2], f"P{patient}"))

    def prepare(self, protocol, source=FOLDER, **sets):
        """Run `medtune data`. Return None, or a message if it fails."""
        if source is FOLDER:
            with (self.root / "data.csv").open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([("path", "label", "group"), *self.listed])
        params = {
            "data.root": str(self.root),
            "data.image_size": 32,
            "data.split.protocol": protocol,
            "data.split.test_fold": "all",
            "data.split.allow_missing_classes": True,
            "model.backbone": "test_efficientnet",
            "model.backbone_args": {},
            **source,
            **{f"data.{name}": value for name, value in sets.items()},
        }
        arguments = [f"--set={key}={json.dumps(value)}" for key, value in params.items()]
        self.code = call(["data", *arguments, f"--out={self.out}"])
        self.error = self.capsys.readouterr().err.strip()
        return f"exit code {self.code}: {self.error}" if self.code else None

    def read(self, name):
        return (self.out / "data" / "prepared" / name).read_text(encoding="utf-8")

    @cached_property
    def rows(self):
        """Rows of manifest.csv by path of the image."""
        return {row["path"]: row for row in csv.DictReader(self.read("manifest.csv").splitlines())}

    @cached_property
    def report(self):
        return json.loads(self.read("report.json"))

    @property
    def near_copies(self):
        """Reported pairs by paths."""
        return {tuple(sorted(pair["paths"])): pair for pair in self.report["duplicates"]["near"]["first"]}

    def splits(self, path):
        """Return the split of an image in each fold."""
        return [split for name, split in self.rows[path].items() if name.startswith("role_")]

    def is_separated(self, first, second):
        return is_separated(self.splits(first), self.splits(second))

    def leak_problem(self, protocol):
        """Return a problem if the leaked patients are not exactly those that are reported."""
        patients, splits = [row["patient"] for row in self.rows.values()], [self.splits(path) for path in self.rows]
        leaked = leaked_patients(patients, splits, range(len(splits[0])))
        if protocol == "patient" and leaked:
            return f"{len(leaked)} patients are in two splits"
        reported = json.loads(self.read("dataset.json"))["leaked_patients"]
        if set(reported) != leaked or self.report["leaked_patients"] != reported:
            return f"{len(reported)} patients are reported as leaked, {len(leaked)} are"
        return None

    def breakhis_problem(self, labels, protocol):
        """Return the first problem with patient 13412, whose two images are in two files each."""
        paths = [path for path, row in self.rows.items() if row["patient"] == MISLABELED]
        copies = [(a, b) for a, b in combinations(paths, 2) if self.rows[a]["sha256"] == self.rows[b]["sha256"]]
        exact = self.report["duplicates"]["exact"]
        reported = {tuple(sorted(pair["paths"])) for pair in exact["first"]}
        checks = {
            f"it has {len(paths)} images": len(paths) == 4,
            "dataset.json does not name it": MISLABELED in str(json.loads(self.read("dataset.json"))["faults"]),
            f"{reported} are reported": reported == {tuple(sorted(pair)) for pair in copies} and exact["sets"] == 2,
            f"{exact['with_different_labels']} copies have different labels": exact["with_different_labels"]
            == (0 if labels == "binary" else 2),
            f"{exact['across_splits']} copies are in different splits": exact["across_splits"]
            == sum(self.is_separated(*pair) for pair in copies),
            "protocol official uses it": protocol != "official"
            or all(set(self.splits(path)) == {"unused"} for path in paths),
        }
        return next((problem for problem, passed in checks.items() if not passed), self.leak_problem(protocol))


def random_images(n, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), np.uint8)
    return [Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC) for pixels in coarse]
