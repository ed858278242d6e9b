"""Frames of a DICOM-SEG in world coordinates, read with pydicom, independently of highdicom."""

import numpy as np

to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])


def frames_of(dataset):
    """Yield each frame with its segment, its affine (4, 4) from (column, row) to RAS mm, and the slice it refers to."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    rows, columns = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, group in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        plane = shared if "PlaneOrientationSequence" in shared else group
        directions = np.array(plane.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = directions[0] * columns, directions[1] * rows
        affine[:3, 3] = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        yield group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, to_lps @ affine, source, frame


def labels_on(image, dataset):
    """Return the label map of a DICOM-SEG on the grid of a NIfTI image."""
    labels, inverse = np.zeros(image.shape, np.uint8), np.linalg.inv(image.affine)
    for segment, affine, _, frame in frames_of(dataset):
        rows, columns = np.nonzero(frame)
        points = affine @ np.stack([columns, rows, 0 * rows, 1 + 0 * rows])
        indices = (inverse @ points)[:3]
        assert np.abs(indices - np.rint(indices)).max(initial=0) < 0.01
        labels[tuple(np.rint(indices).astype(int))] = segment
    return labels
