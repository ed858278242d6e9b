"""Source `phantom`: drawn volumes of two touching organs and a lesion, shipped with the project.

Patients differ in anatomy, scanner, orientation and field of view. One of three patients has no lesion. One of three
patients has thick slices.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from medtune.data.sample import Sample
from medtune.data.synthetic.anatomy import LABELS
from medtune.data.synthetic.phantom import draw_phantom
from medtune.data.volume_files import VolumeFiles
from medtune.data.volume_params import VolumeParams

NAME = "MedTune phantom"
LICENSE = "Apache-2.0"
CITATION = "Drawn by medtune/data/sources/phantom.py; the volumes do not show real patients."
KNOWN_ISSUES: tuple[str, ...] = ()


class Params(VolumeParams):
    """Parameters of the drawing; `root` is not used."""

    source: Literal["phantom"] = "phantom"
    patients: Annotated[int, Field(ge=3, le=1000)] = Field(24, description="number of patients, one volume each")
    size: Annotated[int, Field(ge=16, le=256)] = Field(
        48, description="voxels along an axis. Volumes with thick slices have fewer voxels along one axis"
    )
    seed: Annotated[int, Field(ge=0)] = 1


def classes(params: Params) -> tuple[str, ...]:
    """Return the label names in index order, without the background."""
    return LABELS


def channels(params: Params) -> tuple[str, ...]:
    """Return the name of the only channel."""
    return ("phantom",)


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List one sample per patient, sorted by path. `VolumeFiles.read` draws the volume."""
    samples = []
    for patient in range(params.patients):
        lesion = patient % 3 != 0
        thick = (patient + patient // 3) % 3 == 0  # nine patients have all combinations of lesion and slices
        stratum = "lesion" if lesion else "no lesion"
        samples.append(
            Sample(
                path=f"P{patient:03d}",
                label=stratum,
                patient_id=f"P{patient:03d}",
                metadata={"lesion": "yes" if lesion else "no", "slices": "thick" if thick else "thin"},
                volume=VolumeFiles(read=partial(draw_phantom, patient, params.size, lesion, thick, params.seed)),
            )
        )
    return samples


def example(root: Path) -> dict[str, object]:
    """Return params of a tiny data set. The source needs no files in `root`."""
    return {"patients": 15, "size": 16}
