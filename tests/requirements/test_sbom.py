"""The bill of materials: everything the lock names, nothing else, the same every time."""

import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
TOOLS = PROJECT / ".cache" / "audit" / "bin" / "python"


def test_components__names_versions_markers_and_digests(sbom: ModuleType) -> None:
    lock = (
        f"# made by uv\nRuamel_Yaml==0.19 \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
        f"pywin32==312 ; sys_platform == 'win32' \\\n    --hash=sha256:{'c' * 64}\n"
    )
    first, second = sbom.components(lock)
    assert first["purl"] == first["bom-ref"] == "pkg:pypi/ruamel-yaml@0.19"
    assert [one["content"][0] for one in first["externalReferences"][0]["hashes"]] == ["a", "b"]
    assert second["properties"] == [{"name": "medtune:marker", "value": "sys_platform == 'win32'"}]
    assert "properties" not in first


@pytest.mark.parametrize("lock", ["train.lock", "predict.lock"])
def test_document__has_every_package_and_no_address(sbom: ModuleType, lock: str) -> None:
    path = PROJECT / "requirements" / lock
    made = sbom.document(path)
    text = path.read_text()
    assert len(made["components"]) == text.count("==") - text.count(" ==")
    assert sum(len(one["externalReferences"][0]["hashes"]) for one in made["components"]) == text.count("--hash=")
    assert "://" not in json.dumps(made)
    assert made == sbom.document(path)


@pytest.mark.slow
@pytest.mark.skipif(not TOOLS.exists(), reason="make sbom or make audit installs the tools first")
def test_command__writes_what_the_schema_takes(tmp_path: Path) -> None:
    words = [str(TOOLS), "requirements/sbom.py", "requirements/predict.lock", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "medtune-predict.cdx.json").read_text())
    assert made["metadata"]["component"]["name"] == "medtune"
    assert {"numpy", "onnxruntime", "pillow"} <= {one["name"] for one in made["components"]}
