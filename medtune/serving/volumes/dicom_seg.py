"""Label maps as DICOM Segmentation objects (DICOM-SEG), written with highdicom (needs the extra `dicom-seg`).

An object has one segment per label. A segment has one binary frame for each slice with the label (DICOM PS3.3, A.51).
The frames have the grid and the frame of reference of the series, and refer to its slices.
"""

import importlib.metadata
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medtune.serving.folder_scan import printable
from medtune.serving.manifest import CHECKSUM_KEY, BundleError
from medtune.serving.output_file import replace_file
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.cases import Case
from medtune.serving.volumes.dicom_codes import SegmentCodes, Term, read_codes
from medtune.serving.volumes.dicom_sources import OTHER_FORMAT, SourceSeries, read_sources
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.geometry import spacing
from medtune.serving.volumes.segmented import SegmentedVolume

INSTALL = 'highdicom is not installed. Run pip install "medtune[dicom-seg]"'
NO_WHEEL = "highdicom is not installed, and has no wheel for this Python. Use Python 3.11 to 3.13"
SUFFIX = ".dcm"
MANUFACTURER = "MedTune"
# The series number of a DICOM-SEG is that of its source plus this number, so that viewers list it after the images.
_SERIES_OFFSET = 1000
_MAX_SERIES = 2**31 - 1 - _SERIES_OFFSET
_LO_CHARS = 64  # longest DICOM value of type Long String


@dataclass(frozen=True)
class DicomSegFormat:
    """The format `dicom-seg` for the label maps of one bundle (an exported model).

    Attributes:
        labels: names of the labels 1, 2, ... of a label map.
        codes: coded terms of each label.
        bundle: name of the bundle.
        sha256: checksum of bundle.json, which lists the checksums of all files of the bundle.
    """

    labels: tuple[str, ...]
    codes: tuple[SegmentCodes, ...]
    bundle: str
    sha256: str

    @classmethod
    def from_manifest(cls, document: Mapping[str, Any], codes: Path | None = None) -> "DicomSegFormat":
        """Create the format for a bundle.

        Args:
            document: content of bundle.json.
            codes: file with the codes of labels (see `read_codes`).

        Returns:
            The format.

        Raises:
            BundleError: highdicom is not installed, or `codes` is invalid.
        """
        if problem := missing_package():
            raise BundleError(f"--format=dicom-seg: {problem}")
        labels = tuple(document["classes"])
        name = str(document.get("name") or "bundle")
        return cls(labels, tuple(read_codes(codes, labels)), name, str(document[CHECKSUM_KEY]))

    def prepare(self, cases: Sequence[Case], out: Path) -> list[Case]:
        """Check that all inputs are folders of DICOM series, and that `out` is outside of them."""
        results = out.resolve()
        for case in cases:
            if len(case.files) > 1 or not os.path.isdir(case.files[0]):
                raise BundleError(
                    f"--format=dicom-seg: {printable(case.path)} is not a DICOM series, and a DICOM-SEG refers to "
                    f"DICOM slices. {OTHER_FORMAT}"
                )
            if results.is_relative_to(case.files[0].resolve()):
                raise BundleError(f"--out={out}: it is inside of the series {case.files[0]}. Use another folder")
        return [replace(case, suffix=SUFFIX) for case in cases]

    def read_source(self, case: Case) -> SourceSeries:
        """Read the headers of the series. Convert two empty slices, to find problems before the prediction."""
        source = read_sources(case.files[0])
        start = SourceSeries(source.slices[:2], source.grid)
        with file_errors(case.files[0]):
            self._convert(np.zeros((*source.grid.shape[:2], len(start.slices)), np.uint8), start)
        return source

    def write(self, path: Path, result: SegmentedVolume, source: SourceSeries) -> None:
        """Write one DICOM-SEG (see `LabelMapFormat.write`)."""
        result.grid.check_same(source.grid, "the series before the prediction")
        dataset = self._convert(result.labels, source)
        with replace_file(path, SUFFIX) as temporary:
            dataset.save_as(temporary)

    def _convert(self, labels: np.ndarray, source: SourceSeries) -> Any:
        """Return the dataset of a label map. Convert each error to a DecodeError of one line."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # highdicom and pydicom warn about odd metadata of the source
                return self._build(labels, source)
        except MemoryError:
            raise DecodeError("not enough memory to write the DICOM-SEG") from None
        except Exception as error:  # odd metadata raises every kind of error. Its text may contain the patient's name
            kind = type(error).__name__
            raise DecodeError(
                f"the series has metadata that a DICOM-SEG cannot have ({kind}). {OTHER_FORMAT}"
            ) from None

    def _build(self, labels: np.ndarray, source: SourceSeries) -> Any:
        """Return the dataset of a label map (columns, rows, slices)."""
        import highdicom as hd

        logging.getLogger("highdicom").setLevel(logging.CRITICAL)  # its warnings may contain the patient's name
        first, (_, _, distance) = source.slices[0], spacing(source.grid.affine).tolist()
        measures = hd.PixelMeasuresSequence(
            pixel_spacing=[float(value) for value in first.PixelSpacing],
            slice_thickness=float(first.SliceThickness),
            spacing_between_slices=distance,
        )
        return hd.seg.Segmentation(
            source_images=list(source.slices),
            pixel_array=np.ascontiguousarray(labels.transpose(2, 1, 0)),  # (slices, rows, columns)
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[self._describe(index) for index in range(len(self.labels))],
            series_instance_uid=hd.UID(),
            series_number=_series_number(first.get("SeriesNumber")),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=_text(self.bundle),
            software_versions=version(),
            device_serial_number=self.sha256,
            content_label="SEGMENTATION",
            content_description=_text(f"Labels of {self.bundle}"),
            series_description=_text(f"{MANUFACTURER} {self.bundle}"),
            pixel_measures=measures,
            specific_character_set="ISO_IR 192",  # UTF-8, for labels with characters that the source cannot have
        )

    def _describe(self, index: int) -> Any:
        """Return the description of the label with number `index` + 1."""
        import highdicom as hd
        from pydicom.sr.codedict import codes
        from pydicom.sr.coding import Code

        def coded(term: Term) -> Code:
            return Code(*term)

        algorithm = hd.AlgorithmIdentificationSequence(
            name=_text(f"{MANUFACTURER} {self.bundle}"),
            family=codes.DCM.ArtificialIntelligence,
            version=version(),
            parameters={"bundle": self.bundle, "bundle_sha256": self.sha256, "medtune": version()},
        )
        return hd.seg.SegmentDescription(
            segment_number=index + 1,
            segment_label=_text(self.labels[index]),
            segmented_property_category=coded(self.codes[index].category),
            segmented_property_type=coded(self.codes[index].type),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )


def missing_package() -> str | None:
    """Return how to install highdicom, or None if it is installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError:
        return NO_WHEEL if sys.version_info >= (3, 14) else INSTALL
    return None


def version() -> str:
    """Return the version of MedTune, or `unknown` if the package is not installed."""
    try:
        return importlib.metadata.version("medtune")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _text(value: str) -> str:
    """Return text as one DICOM value of type Long String, without backslashes. A backslash separates two values."""
    printed = "".join(char if char.isprintable() else " " for char in value.replace("\\", "/"))
    return printed[:_LO_CHARS].strip() or "unnamed"


def _series_number(value: object) -> int:
    """Return the series number for the SeriesNumber of the source, which may be missing or invalid."""
    text = str(value)
    number = int(text) if text.isdecimal() else 0
    return _SERIES_OFFSET + (number if number <= _MAX_SERIES else 0)
