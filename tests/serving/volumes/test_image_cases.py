import pytest

from medtune.serving.manifest import BundleError
from medtune.serving.volumes.image_cases import find_image_cases


def test_find__files_and_folders(tmp_path):
    for name in ("a.png", "deep/b.jpg", "out/a.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    out = tmp_path / "out"
    cases = find_image_cases([tmp_path, tmp_path / "a.png"], out)
    assert [(case.name, case.path) for case in cases] == [("a", f"{tmp_path}/a.png"), ("b", f"{tmp_path}/deep/b.jpg")]
    with pytest.raises(BundleError, match="have the same name"):
        find_image_cases([tmp_path / "a.png", out], tmp_path / "other")
    with pytest.raises(BundleError, match="does not exist"):
        find_image_cases([tmp_path / "c.png"], out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="no images under"):
        find_image_cases([tmp_path / "empty"], out)
