"""Source `synthetic`: drawn images of hematoxylin and eosin stains, shipped with the project.

Tissues differ in structure, and patients differ in stain. Each patient has one tissue, so the stain of a known patient
reveals the class. A split by image has images of one patient in both training and test, so its metrics are too good.
A split by patient avoids this.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from medtune.config.data import DataParams
from medtune.data.sample import Sample

NAME = "MedTune synthetic H&E"
LICENSE = "Apache-2.0"
CITATION = "Drawn by medtune/data/sources/synthetic.py; the images do not show real patients."
KNOWN_ISSUES: tuple[str, ...] = ()

TISSUES = ("glands", "nests", "cords", "pools")
# Binary label of each tissue. Open tissues have spaces between or around the cells, and solid tissues have none.
BINARY = {"glands": "open", "pools": "open", "nests": "solid", "cords": "solid"}


class Params(DataParams):
    """Parameters of the drawing; `root` is not used."""

    source: Literal["synthetic"] = "synthetic"
    labels: Literal["subtypes4", "binary"] = "subtypes4"
    image_size: Annotated[int, Field(ge=8, le=2048)] = 128
    patients: Annotated[int, Field(ge=4, le=1000)] = Field(
        40, description="number of patients, assigned to the four tissues in turn"
    )
    images_per_patient: Annotated[int, Field(ge=1, le=1000)] = 12
    stain_spread: Annotated[float, Field(ge=0, le=2)] = Field(
        1.0, description="variation of the stain between patients. 0: none"
    )
    seed: Annotated[int, Field(ge=0)] = 1


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in index order."""
    return ("open", "solid") if params.labels == "binary" else TISSUES


def positive_class(params: Params) -> str | None:
    """Return "solid" for the binary labels, otherwise None."""
    return "solid" if params.labels == "binary" else None


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List one sample per image, sorted by path. `Sample.read` draws the pixels."""
    samples = []
    for patient in range(params.patients):
        tissue = TISSUES[patient % len(TISSUES)]
        for image in range(params.images_per_patient):
            samples.append(
                Sample(
                    path=f"{tissue}/P{patient:03d}-{image:03d}",
                    label=BINARY[tissue] if params.labels == "binary" else tissue,
                    patient_id=f"P{patient:03d}",
                    metadata={"tissue": tissue},
                    read=partial(draw, tissue, patient, image, params.image_size, params.stain_spread, params.seed),
                )
            )
    return sorted(samples, key=lambda sample: sample.path)


def draw(tissue: str, patient: int, image: int, size: int, stain_spread: float, seed: int) -> np.ndarray:
    """Draw a (size, size, 3) uint8 image. Equal arguments give equal bytes in every process."""
    from medtune.data.synthetic.stain import Stain
    from medtune.data.synthetic.tissue import CellStyle, paint

    # The patient's seed does not depend on the tissue, so stain and cell style are independent of the class.
    patient_rng = np.random.default_rng(np.random.SeedSequence([seed, patient]))
    stain, style = Stain.draw(patient_rng, stain_spread), CellStyle.draw(patient_rng)
    rng = np.random.default_rng(np.random.SeedSequence([seed, patient, image + 1]))
    return stain.render(*paint(tissue, size, style, rng), rng)
