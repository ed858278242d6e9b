"""xdist groups: the tests of a group run in order on one worker, because pipeline tests depend on each other."""

import os

import pytest

pytestmark = pytest.mark.xdist_group("groups")


def test_group__is_in_the_node_id(request: pytest.FixtureRequest) -> None:
    # pytest 9.2 removed the field through which pytest-xdist 3.8 adds the group, which disabled all groups silently.
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@groups")
