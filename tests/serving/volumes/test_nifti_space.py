"""Fields of the NIfTI header: read, computed from an affine, and written."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.volumes.nifti_space import NiftiSpace
from tests.serving.volumes.volume_files import ORIENTATIONS, grids, reoriented


@given(grids(), st.sampled_from(ORIENTATIONS))
def test_from_affine__qform_and_sform_are_the_affine(grid, orientation):
    shape, affine = grid
    _, stored = reoriented(np.zeros(shape), affine, orientation)
    space = NiftiSpace.from_affine(stored)
    header = space.make_header()
    assert (space.qform_code, space.sform_code, header.get_xyzt_units()[0]) == (1, 1, "mm")
    assert header.get_sform() == pytest.approx(stored, abs=1e-4)
    assert header.get_qform() == pytest.approx(stored, abs=1e-3)
    assert space.affine() == pytest.approx(stored, abs=1e-4)
    assert NiftiSpace.from_header(header, 1) == space


@given(grids(), st.sampled_from(ORIENTATIONS))
def test_affine__of_the_qform_equals_nibabel(grid, orientation):
    shape, affine = grid
    header = nib.Nifti2Header()
    header.set_qform(reoriented(np.zeros(shape), affine, orientation)[1], 1)
    space = NiftiSpace.from_header(header, 2)
    assert np.array_equal(space.affine(), header.get_qform())
    assert isinstance(space.make_header(), nib.Nifti2Header)
