"""Fields of a NIfTI header that describe the voxel grid. A label map gets the fields of its volume."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.geometry import Floats, format_numbers

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

INSTALL = 'nibabel is not installed. Run pip install "medtune[volumes]"'
_CODES = range(6)  # permitted codes of qform and sform
_SCANNER = 1  # code of qform and sform: coordinates of the scanner
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, m, mm and um
_UNIT_OF_LENGTH = 7  # the bits of xyzt_units that contain the unit of length


@dataclass(frozen=True)
class NiftiSpace:
    """The fields of a NIfTI header that describe the grid, with the values of the file.

    Attributes:
        version: version of NIfTI, 1 or 2.
        qform_code: coordinate system of the qform (`quaternion`, `offset` and `pixdim`); 0 if it is not set.
        sform_code: coordinate system of the sform (`rows`); 0 if it is not set.
        quaternion: the fields quatern_b, quatern_c and quatern_d.
        offset: the fields qoffset_x, qoffset_y and qoffset_z.
        rows: the fields srow_x, srow_y and srow_z.
        pixdim: handedness of the quaternion (1 or -1), then the spacing.
        units: the field xyzt_units.
    """

    version: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    offset: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    pixdim: tuple[float, ...]
    units: int

    @classmethod
    def from_header(cls, header: "Nifti1Header", version: int) -> "NiftiSpace":
        """Read the fields of a header. A `pixdim[0]` of 0 counts as 1, as NIfTI requires.

        Args:
            header: header of nibabel, NIfTI-1 or NIfTI-2.
            version: 1 or 2.

        Returns:
            The fields.

        Raises:
            DecodeError: the spacing is not positive, or a code is unknown.
        """
        pixdim = header["pixdim"][:4].astype(float).tolist()
        if not np.isfinite(pixdim[1:]).all() or min(pixdim[1:]) <= 0:
            raise DecodeError(f"the spacing is {format_numbers(pixdim[1:])}; expected positive numbers")
        codes = int(header["qform_code"]), int(header["sform_code"])
        if not all(code in _CODES for code in codes):
            raise DecodeError(f"damaged: qform_code {codes[0]} and sform_code {codes[1]} must be from 0 to 5")
        return cls(
            version,
            *codes,
            tuple(float(header[f"quatern_{axis}"]) for axis in "bcd"),
            tuple(float(header[f"qoffset_{axis}"]) for axis in "xyz"),
            tuple(tuple(header[f"srow_{axis}"].astype(float).tolist()) for axis in "xyz"),
            (-1.0 if pixdim[0] < 0 else 1.0, *pixdim[1:]),
            int(header["xyzt_units"]),
        )

    @classmethod
    def from_affine(cls, affine: Floats) -> "NiftiSpace":
        """Return fields with an affine as qform and sform, in scanner coordinates.

        Args:
            affine: float64 (4, 4), voxel indices to mm, without shear.

        Returns:
            The fields for NIfTI-1.

        Raises:
            DecodeError: nibabel is not installed.
        """
        try:
            from nibabel.nifti1 import Nifti1Header
        except ImportError:
            raise DecodeError(INSTALL) from None
        header = Nifti1Header()
        header.set_qform(affine, _SCANNER)
        header.set_sform(affine, _SCANNER)
        header.set_xyzt_units("mm")
        return cls.from_header(header, 1)

    def make_header(self) -> "Nifti1Header":
        """Return a new NIfTI-1 or NIfTI-2 header with these fields."""
        from nibabel.nifti1 import Nifti1Header
        from nibabel.nifti2 import Nifti2Header

        header = Nifti1Header() if self.version == 1 else Nifti2Header()
        for name, values in (("quatern_{}", self.quaternion), ("qoffset_{}", self.offset), ("srow_{}", self.rows)):
            for axis, value in zip("bcd" if name.startswith("quatern") else "xyz", values, strict=True):
                header[name.format(axis)] = value
        header["pixdim"][:4] = self.pixdim
        header["qform_code"], header["sform_code"] = self.qform_code, self.sform_code
        header["xyzt_units"] = self.units
        return header

    def affine(self) -> Floats:
        """Compute the affine in mm: the sform if it is set, otherwise the qform, as in nibabel.

        Returns:
            float64 (4, 4), which may have shear.

        Raises:
            DecodeError: neither sform nor qform is set, they are mirror images of each other, the qform is not a
                rotation, or the unit is unknown.
        """
        if self.qform_code == self.sform_code == 0:
            raise DecodeError("the position in space is unknown: qform_code and sform_code are 0")
        if (unit := self.units & _UNIT_OF_LENGTH) not in _MM_PER_UNIT:
            raise DecodeError(f"the unit of length has the unknown code {unit}")
        affine = self._sform() if self.sform_code > 0 else self._qform()
        # Some programs read the qform and others the sform, so both must agree about left and right.
        with np.errstate(invalid="ignore"):  # numbers that are not finite are refused later
            determinant = float(np.linalg.det(affine[:3, :3]))
        if self.qform_code > 0 and determinant * self.pixdim[0] < 0:
            raise DecodeError("the qform and the sform are mirror images of each other, so left and right are unknown")
        affine[:3] *= _MM_PER_UNIT[unit]
        return affine

    def _sform(self) -> Floats:
        return np.vstack([np.array(self.rows, np.float64), (0.0, 0.0, 0.0, 1.0)])

    def _qform(self) -> Floats:
        try:
            return np.array(self.make_header().get_qform(), np.float64)
        except ValueError as error:
            raise DecodeError(f"the qform is not a rotation: {' '.join(str(error).split())[:120]}") from None
