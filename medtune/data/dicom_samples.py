"""DICOM files among the images of a source: their patients, frames, pixel spacing and marks, read from the headers."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from medtune.config.errors import InputError
from medtune.data.listing import image_path
from medtune.data.sample import Sample
from medtune.serving.decode import DICOM_SUFFIXES, SUFFIXES
from medtune.serving.dicom import DicomHeader, is_dicom_file, read_header
from medtune.serving.folder_scan import printable
from medtune.serving.pixels import DecodeError

SPACING = "pixel_spacing_mm"
_OTHER_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix not in DICOM_SUFFIXES)


@dataclass(frozen=True)
class DicomSamples:
    """Samples with what their DICOM headers say.

    Attributes:
        samples: as before, with one per frame, patients and the column `pixel_spacing_mm`.
        notes: what a reader of the results must know, sentences.
        from_headers: whether `patient_id` is PatientID as it is; `hide_patients` makes digests of them.
    """

    samples: list[Sample]
    notes: tuple[str, ...]
    from_headers: bool = False


def add_dicom_headers(samples: Sequence[Sample], root: Path | None, frames: Literal["error", "expand"]) -> DicomSamples:
    """Read the headers of the DICOM files among `samples`; without any, the samples are returned as they are.

    A patient that the source does not know is taken from PatientID. Identifiers are compared as they are, and then
    `hide_patients` replaces them: the identifier itself is written nowhere.

    Args:
        samples: what a source lists.
        root: the data root.
        frames: error: refuse files of several frames; expand: one sample per frame.

    Raises:
        InputError: files of several frames, or some files name a patient and others do not.
    """
    headers = {} if root is None else dict(_headers(samples, root))
    if not headers:
        return DicomSamples(list(samples), ())
    if frames == "error" and (several := [n for n, header in headers.items() if header.frames > 1]):
        first = several[0]
        raise InputError(
            f"data.frames=error: {len(several)} DICOM files have several frames, for example "
            f"{printable(samples[first].path)} with {headers[first].frames}. Set data.frames=expand to use every frame "
            "as an image of its patient"
        )
    patients = _patients(samples, headers)
    found: list[Sample] = []
    for number, sample in enumerate(samples):
        header = headers.get(number)
        spacing = "x".join(f"{value:g}" for value in header.spacing_mm) if header and header.spacing_mm else ""
        metadata = {**sample.metadata, SPACING: spacing}
        one = replace(sample, patient_id=patients.get(number, sample.patient_id), metadata=metadata)
        if header is None or header.frames == 1:
            found.append(one)
            continue
        assert root is not None
        file = image_path(sample, root)
        found += [replace(one, path=f"{sample.path}#{n}", file=file, frame=n) for n in range(header.frames)]
    return DicomSamples(found, tuple(_notes(list(headers.values()))), bool(patients))


def hide_patients(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with a digest for each patient."""
    return [
        replace(sample, patient_id=f"dicom-{hashlib.sha256((sample.patient_id or '').encode()).hexdigest()[:16]}")
        for sample in samples
    ]


def _headers(samples: Sequence[Sample], root: Path) -> Iterator[tuple[int, DicomHeader]]:
    """Header by position, of the files that are DICOM; a damaged one is left to decoding, which names it."""
    for number, sample in enumerate(samples):
        file = image_path(sample, root)
        if sample.read is not None or file.suffix.lower() in _OTHER_SUFFIXES or not is_dicom_file(file):
            continue
        try:
            yield number, read_header(file)
        except DecodeError:
            continue


def _patients(samples: Sequence[Sample], headers: dict[int, DicomHeader]) -> dict[int, str]:
    if any(sample.patient_id is not None for sample in samples):
        return {}
    known = {n: header.patient_id for n, header in headers.items() if header.patient_id is not None}
    if not known:
        return {}
    if len(known) < len(samples):
        example = next(n for n in range(len(samples)) if n not in known)
        raise InputError(
            f"{len(samples) - len(known)} of {len(samples)} images name no patient, for example "
            f"{printable(samples[example].path)}, while the others have a PatientID. Name the patients in a table "
            "or in data.patient_pattern"
        )
    return known


def _notes(headers: list[DicomHeader]) -> Iterator[str]:
    spacings = {header.spacing_mm for header in headers}
    if len(spacings) > 1:
        yield (
            f"{len(spacings)} different pixel spacings in {len(headers):,} DICOM files: images are resized to the same "
            f"number of pixels, not to the same scale (column {SPACING} of manifest.csv)"
        )
    if marked := sum(header.burned_in for header in headers):
        yield f"{marked:,} DICOM files say that text is burned into their pixels: it may give the label away, or a name"
    if overlaid := sum(header.overlays > 0 for header in headers):
        yield f"{overlaid:,} DICOM files have overlays, which are not part of the images used here"
