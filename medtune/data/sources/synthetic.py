"""Source `synthetic`: drawn images after haematoxylin and eosin stains, the set that ships with the project.

Tissues differ in structure, patients in stain, and each patient has one tissue. So stain tells the
patient, and with it the class: a split by image leaks, a split by patient does not.
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
CITATION = "Drawn by medtune/data/sources/synthetic.py; no patient stands behind any image."
KNOWN_ISSUES: tuple[str, ...] = ()

TISSUES = ("glands", "nests", "cords", "pools")
# With open spaces between or around the cells, or without.
BINARY = {"glands": "open", "pools": "open", "nests": "solid", "cords": "solid"}


class Params(DataParams):
    """`root` is not used: there is nothing to read."""

    source: Literal["synthetic"] = "synthetic"
    labels: Literal["subtypes4", "binary"] = "subtypes4"
    image_size: Annotated[int, Field(ge=8, le=2048)] = 128
    patients: Annotated[int, Field(ge=4, le=1000)] = Field(40, description="dealt to the four tissues in turn")
    images_per_patient: Annotated[int, Field(ge=1, le=1000)] = 12
    stain_spread: Annotated[float, Field(ge=0, le=2)] = Field(1.0, description="how far patients' stains differ")
    seed: Annotated[int, Field(ge=0)] = 1


def classes(params: Params) -> tuple[str, ...]:
    """Class names, in the order of their indices."""
    return ("open", "solid") if params.labels == "binary" else TISSUES


def positive_class(params: Params) -> str | None:
    """Solid, where the classes are open and solid."""
    return "solid" if params.labels == "binary" else None


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """One record for each image; its pixels are drawn when `read` is called."""
    found = []
    for patient in range(params.patients):
        tissue = TISSUES[patient % len(TISSUES)]
        for image in range(params.images_per_patient):
            found.append(
                Sample(
                    path=f"{tissue}/P{patient:03d}-{image:03d}",
                    label=BINARY[tissue] if params.labels == "binary" else tissue,
                    patient_id=f"P{patient:03d}",
                    metadata={"tissue": tissue},
                    read=partial(draw, tissue, patient, image, params.image_size, params.stain_spread, params.seed),
                )
            )
    return sorted(found, key=lambda record: record.path)


def draw(tissue: str, patient: int, image: int, size: int, stain_spread: float, seed: int) -> np.ndarray:
    """(size, size, 3) uint8 image; the same arguments give the same bytes in every process."""
    from medtune.data.synthetic.stain import Stain
    from medtune.data.synthetic.tissue import CellStyle, paint

    # The patient's stream knows nothing of the tissue: stain and habit are independent of the class.
    own = np.random.default_rng(np.random.SeedSequence([seed, patient]))
    stain, habit = Stain.draw(own, stain_spread), CellStyle.draw(own)
    rng = np.random.default_rng(np.random.SeedSequence([seed, patient, image + 1]))
    return stain.render(*paint(tissue, size, habit, rng), rng)
