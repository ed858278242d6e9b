"""Refusal of DICOM files that would need much more memory than their image."""

from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

from medtune.serving.codestream import image_sizes
from medtune.serving.pixels import DecodeError

if TYPE_CHECKING:
    from pydicom import Dataset

_RLE, _RLE_HEADER = "1.2.840.10008.1.2.5", 64


class DicomFile(BufferedReader):
    """File for pydicom that refuses deflated content.

    pydicom reads without a size only to decompress a file, and the decompressed file may have any size.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes; raises DecodeError without a size."""
        return super().read(_require_size(size))


class DicomBytes(BytesIO):
    """Content of a file for pydicom that refuses deflated content, as `DicomFile` does."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes; raises DecodeError without a size."""
        return super().read(_require_size(size))


def _require_size(size: int | None) -> int:
    if size is None or size < 0:
        raise DecodeError("a deflated DICOM file is not supported")
    return size


def check_frame(dataset: "Dataset", index: int, shape: tuple[int, int]) -> None:
    """Check a compressed frame before it is decoded, because decoders allocate memory for the size that it states.

    Args:
        dataset: DICOM file with pixels.
        index: index of the frame, from 0.
        shape: (width, height) in the header.

    Raises:
        DecodeError: the frame states another size, or has more bytes than its pixels.
    """
    from pydicom.encaps import get_frame

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    frame = get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    if syntax == _RLE:
        samples = int(dataset.get("SamplesPerPixel") or 1)
        raw = shape[0] * shape[1] * samples * ((int(dataset.BitsAllocated) + 7) // 8)
        if len(frame) > 2 * raw + _RLE_HEADER:  # RLE adds at most 1 byte to 128 bytes
            raise DecodeError(f"the compressed image has {len(frame):,} bytes, but only {raw:,} bytes of pixels")
    for width, height in image_sizes(frame):
        if (width, height) != shape:
            raise DecodeError(
                f"the compressed image has {width} x {height} pixels; the header states {shape[0]} x {shape[1]}"
            )
