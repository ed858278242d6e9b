"""Patients, frames and pixel spacing from DICOM headers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.dicom_samples import SPACING, add_dicom_headers, hide_patients
from medtune.data.sample import Sample
from medtune.data.volume_files import VolumeFiles
from tests.serving.test_dicom import write

PIXELS = np.zeros((3, 8, 8), np.uint8)


def samples(folder: Path, *patients: str, frames: int = 1, **values: object) -> list[Sample]:
    """Create one sample per patient; an empty name creates a file without PatientID."""
    pixels = PIXELS[:frames] if frames > 1 else PIXELS[0]
    files = [write(folder, pixels, PatientID=patient, **values) for patient in patients]
    return [Sample(file.name, "a") for file in files]


def test_patients__are_digests_of_the_identifiers(tmp_path: Path) -> None:
    listed = add_dicom_headers(samples(tmp_path, "Doe^Jane", "Doe^Jane", "Roe"), tmp_path, "error")
    assert listed.from_headers
    hidden = hide_patients(listed.samples)
    first, second, third = (sample.patient_id or "" for sample in hidden)
    assert first == second != third
    assert first.startswith("dicom-")
    assert "Doe" not in first


def test_patients__of_the_source_take_precedence(tmp_path: Path) -> None:
    listed = [Sample(sample.path, "a", "source") for sample in samples(tmp_path, "x", "y")]
    assert {sample.patient_id for sample in add_dicom_headers(listed, tmp_path, "error").samples} == {"source"}


def test_patients__missing_in_some_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 of 3 images have no patient"):
        add_dicom_headers(samples(tmp_path, "x", "y", ""), tmp_path, "error")
    assert add_dicom_headers(samples(tmp_path, "", ""), tmp_path, "error").samples[0].patient_id is None


def test_frames__are_rejected_or_expanded_by_patient(tmp_path: Path) -> None:
    listed = samples(tmp_path, "x", frames=3)
    with pytest.raises(InputError, match=r"data\.frames=error: 1 DICOM files have several frames"):
        add_dicom_headers(listed, tmp_path, "error")
    expanded = add_dicom_headers(listed, tmp_path, "expand").samples
    assert [sample.path for sample in expanded] == [f"{listed[0].path}#{n}" for n in range(3)]
    assert [sample.frame for sample in expanded] == [0, 1, 2]
    assert len({sample.patient_id for sample in expanded}) == 1


def test_notes__report_spacings_and_burned_in_text(tmp_path: Path) -> None:
    listed = samples(tmp_path, "x", PixelSpacing=[0.5, 0.5], BurnedInAnnotation="YES")
    listed += samples(tmp_path, "y", PixelSpacing=[1, 1])
    result = add_dicom_headers(listed, tmp_path, "error")
    assert [sample.metadata[SPACING] for sample in result.samples] == ["0.5x0.5", "1x1"]
    assert "2 different pixel spacings" in result.notes[0]
    assert result.notes[1].startswith("1 DICOM files have text burned")


def test_other_files__are_unchanged(tmp_path: Path) -> None:
    listed = [Sample("a.png", "a"), Sample("missing", "a")]
    assert add_dicom_headers(listed, tmp_path, "error").samples == listed
    assert add_dicom_headers(listed, None, "error").samples == listed


def test_headers__of_volumes_are_not_read(tmp_path: Path) -> None:
    sample = samples(tmp_path, "Doe^Jane")[0]
    volume = replace(sample, volume=VolumeFiles((tmp_path / sample.path,)))
    listed = add_dicom_headers([volume], tmp_path, "error")
    assert listed.samples == [volume]
    assert not listed.from_headers
