"""Quickstart notebook and docs/api.md: the notebook runs, and the page describes every public name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import medtune
from medtune.config.project import PROJECT

NOTEBOOK = PROJECT / "examples" / "quickstart.ipynb"
# The test runs all cells of the notebook with a smaller network, whose export is faster, and with less training.
SMALLER = {
    "schedule=staged": 'schedule=staged", "model.weights=none", "model.backbone_args={img_size: 64, depth: 2}',
    "data.labels=binary": 'data.labels=binary", "data.image_size=64',
    "data.patients=30": "data.patients=15",
    "data.images_per_patient=4": "data.images_per_patient=2",
    "frozen.epochs=12": "frozen.epochs=2",
    "frozen.feature_views=4": "frozen.feature_views=1",
    "finetune.epochs=2": "finetune.epochs=1",
}


def output_text(notebook: Any) -> str:
    """Return the outputs of all cells as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_notebook__runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if cell.source.startswith("SETS = [")]
    for shown, smaller in SMALLER.items():
        assert settings.source.count(f'"{shown}"') == 1
        settings.source = settings.source.replace(f'"{shown}"', f'"{smaller}"')
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    text = output_text(notebook)
    assert "finetune.epoch: unknown key (did you mean 'epochs'?)" in text
    assert "done: 8 of 8 steps ran" in text
    assert "again: frozen fold 0, finetune fold 0, frozen fold 1" in text
    assert len(re.findall(r"^Prediction\(label='(?:open|solid)', probability=[\d.]+\)$", text, re.MULTILINE)) == 3
    assert "torch.Size([4, 2])" in text
    assert "trained 6,274 of 306,370 parameters" in text


def test_notebook__is_documented_and_stores_small_outputs_without_paths() -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    headings = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert sum(source.startswith("#") for source in headings) >= 7
    assert 0 < len(output_text(notebook)) < 8000
    assert not re.search(r"/(tmp|root|home|Users)/", json.dumps(notebook))


def test_api_page__describes_every_name() -> None:
    page = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in medtune.__all__ if name not in page] == []
