"""A bundle for volumes, and the package that writes DICOM-SEG."""

import pytest

from tests.serving.volumes import tiny_volume_bundle as tiny


@pytest.fixture
def highdicom():
    return pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom-seg, Python 3.11 to 3.13)")


@pytest.fixture
def bundle(tmp_path):
    return tiny.write_bundle(tmp_path / "bundle")
