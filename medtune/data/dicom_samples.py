"""Patients, frames, pixel spacing and warnings from the headers of a source's DICOM files."""

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
    """Samples with information from their DICOM headers.

    Attributes:
        samples: one sample per frame, with patients and the column `pixel_spacing_mm`.
        notes: warnings for readers of the results, one sentence each.
        from_headers: True if `patient_id` is the PatientID of the header. `hide_patients` must then replace it.
    """

    samples: list[Sample]
    notes: tuple[str, ...]
    from_headers: bool = False


def add_dicom_headers(samples: Sequence[Sample], root: Path | None, frames: Literal["error", "expand"]) -> DicomSamples:
    """Add patients, frames and pixel spacing from the headers of DICOM files.

    If the source names no patients, PatientID is the patient. Call `hide_patients` after the checks of patients, so
    that PatientID is not written to any file.

    Args:
        samples: the samples of a source.
        root: the data root; None if the samples are not files.
        frames: error: reject files of several frames; expand: one sample per frame.

    Returns:
        The samples, which are unchanged if no file is DICOM. DICOM series only get their patients.

    Raises:
        InputError: a file has several frames and `frames` is error, or only some of the images have a PatientID.
    """
    if series := dict(_series_headers(samples)):
        patients = _patients(samples, series)
        named = [replace(sample, patient_id=patients.get(n, sample.patient_id)) for n, sample in enumerate(samples)]
        return DicomSamples(named, (), bool(patients))
    headers = {} if root is None else dict(_headers(samples, root))
    if not headers:
        return DicomSamples(list(samples), ())
    if frames == "error" and (multi_frame := [n for n, header in headers.items() if header.frames > 1]):
        first = multi_frame[0]
        raise InputError(
            f"data.frames=error: {len(multi_frame)} DICOM files have several frames, for example "
            f"{printable(samples[first].path)} with {headers[first].frames} frames. Set data.frames=expand to use "
            "every frame as an image of its patient"
        )
    patients = _patients(samples, headers)
    expanded: list[Sample] = []
    for number, sample in enumerate(samples):
        header = headers.get(number)
        spacing = "x".join(f"{value:g}" for value in header.spacing_mm) if header and header.spacing_mm else ""
        metadata = {**sample.metadata, SPACING: spacing}
        sample = replace(sample, patient_id=patients.get(number, sample.patient_id), metadata=metadata)
        if header is None or header.frames == 1:
            expanded.append(sample)
            continue
        assert root is not None
        file = image_path(sample, root)
        expanded += [replace(sample, path=f"{sample.path}#{n}", file=file, frame=n) for n in range(header.frames)]
    return DicomSamples(expanded, tuple(_notes(list(headers.values()))), bool(patients))


def hide_patients(samples: Sequence[Sample]) -> list[Sample]:
    """Replace each patient by a hash of the patient."""
    return [
        replace(sample, patient_id=f"dicom-{hashlib.sha256((sample.patient_id or '').encode()).hexdigest()[:16]}")
        for sample in samples
    ]


def _headers(samples: Sequence[Sample], root: Path) -> Iterator[tuple[int, DicomHeader]]:
    """Yield the index and the header of each DICOM image. Skip damaged files, which decoding reports."""
    for number, sample in enumerate(samples):
        if sample.volume is not None:
            continue
        file = image_path(sample, root)
        if sample.read is not None or file.suffix.lower() in _OTHER_SUFFIXES or not is_dicom_file(file):
            continue
        try:
            yield number, read_header(file)
        except DecodeError:
            continue


def _series_headers(samples: Sequence[Sample]) -> Iterator[tuple[int, DicomHeader]]:
    """Yield the index of each DICOM series and the header of its first readable slice."""
    for number, sample in enumerate(samples):
        for file in sample.volume.slices if sample.volume is not None else ():
            if not is_dicom_file(file):
                continue
            try:
                yield number, read_header(file)
            except DecodeError:
                continue
            break


def _patients(samples: Sequence[Sample], headers: dict[int, DicomHeader]) -> dict[int, str]:
    """Return PatientID by the index of the sample; empty if the source or no header names patients."""
    if any(sample.patient_id is not None for sample in samples):
        return {}
    known = {n: header.patient_id for n, header in headers.items() if header.patient_id is not None}
    if not known:
        return {}
    if len(known) < len(samples):
        example = next(n for n in range(len(samples)) if n not in known)
        raise InputError(
            f"{len(samples) - len(known)} of {len(samples)} images have no patient, for example "
            f"{printable(samples[example].path)}, but the others have a PatientID. Name the patients in a table "
            "or with data.patient_pattern"
        )
    return known


def _notes(headers: list[DicomHeader]) -> Iterator[str]:
    """Yield warnings about pixel spacing, text and overlays in the files."""
    spacings = {header.spacing_mm for header in headers}
    if len(spacings) > 1:
        yield (
            f"{len(headers):,} DICOM files have {len(spacings)} different pixel spacings: images are resized to the "
            f"same number of pixels, not to the same scale (column {SPACING} of manifest.csv)"
        )
    if marked := sum(header.burned_in for header in headers):
        yield f"{marked:,} DICOM files have text burned into their pixels: it may reveal the label or a name"
    if overlaid := sum(header.overlays > 0 for header in headers):
        yield f"{overlaid:,} DICOM files have overlays, which are not used"
