"""Tests of one xdist group run on one worker, in order: the pipeline's stand on one another."""

import os

import pytest

pytestmark = pytest.mark.xdist_group("groups")


def test_group__is_in_the_name_that_xdist_splits_by(request: pytest.FixtureRequest) -> None:
    # pytest 9.2 dropped the field through which pytest-xdist 3.8 adds it, and every group fell apart in silence.
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@groups")
