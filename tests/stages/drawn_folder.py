"""Class folders of synthetic images, and stage data on them."""

import csv
import json

import numpy as np
from PIL import Image

from medtune.config.load import load
from medtune.runtime.paths import RunPaths
from medtune.stages import data


def draw(root, patients=12, images_per_patient=4, size=(14, 10)):
    """Write class folders with patients in the file names; all images differ."""
    rng = np.random.default_rng(9)
    for patient in range(patients):
        folder = root / ("no", "yes")[patient % 2]
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(images_per_patient):
            image = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize(size)
            image.save(folder / f"P{patient}_{number}.png")


def prepare(root, *sets, source="folder", pattern=r"(P\d+)_"):
    folder_settings = ["data.patient_pattern=" + json.dumps(pattern)] if source == "folder" and pattern else []
    folder_settings += ["data.positive=yes"] if source == "folder" else []
    params = load(None, [f"data.source={source}", f"data.root={root}", "data.image_size=16", *folder_settings, *sets])
    return data.run(params, RunPaths.from_env(root.parent / "out"))


def read_json(artifact, name="report.json"):
    return json.loads((artifact.folder / name).read_text())


def csv_rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
