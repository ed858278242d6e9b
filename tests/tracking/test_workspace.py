"""Tests of the workspace view, which shows only logged values and needs a server only for saving."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.tasks.classification.metrics import METRICS
from medtune.tracking import metrics
from medtune.tracking.workspace import curves, definition, save, workspace

if TYPE_CHECKING:
    from tests.tracking.conftest import Server


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return definition(workspace("team", "medtune", METRICS))["spec"]


def sections(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    bank = spec["section"]["panelBankConfig"]["sections"]
    return {section["name"]: [panel["config"] for panel in section["panels"]] for section in bank}


def test_workspace__has_curves_per_stage(spec: dict[str, Any]) -> None:
    for title, stage in (("Stage 1: frozen backbone", "frozen"), ("Stage 2: fine-tuning", "finetune")):
        panels = sections(spec)[title]
        assert [panel["metrics"] for panel in panels] == [[name] for name in curves(METRICS)]
        assert {panel["xAxis"] for panel in panels} == {f"{stage}/epoch"}


def test_workspace__shows_logged_values(spec: dict[str, Any]) -> None:
    assert '"{self.stage}/epoch"' in (PROJECT / "medtune" / "tracking" / "candidate_curves.py").read_text()
    assert '"best/{name}"' in (PROJECT / "medtune" / "training" / "run_stage.py").read_text()
    row = {"value": 0.5, "lo": 0.4, "hi": 0.6}
    names = [metric.name for metric in METRICS]
    summary = metrics.flatten_metrics(
        {"test": dict.fromkeys(names, row), "validation": {}, "per_class": [], "folds": [], "n_images": 3}
    )
    for panel in sections(spec)["Test metrics with confidence intervals"][:-1]:
        assert set(panel["metrics"]) <= summary.keys()
    media = {key for panels in sections(spec).values() for panel in panels for key in panel.get("mediaKeys", [])}
    assert {f"test/{name}" for name in metrics.PLOTS} <= media
    assert {"gate", "trials", "stages", "test/folds", "test/metrics", "test/classes"} <= media
    gate = [
        name for panel in sections(spec)["Gate: challengers against the champion"] for name in panel.get("metrics", [])
    ]
    assert set(gate) == {"gate/promoted", "gate/difference", "gate/lo", "gate/hi", "gate/min_improvement"}


def test_save__without_key_writes_definition(
    cache: Path, tmp_path: Path, exit_code: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "view.json"
    assert exit_code(save, out=path, project="ours", entity="team") == 0
    printed = capsys.readouterr().out
    assert f"7 sections written to {path}" in printed
    assert "set WANDB_API_KEY" in printed
    view = json.loads(path.read_text())
    assert (view["entity"], view["project"], view["displayName"]) == ("team", "ours", "MedTune")
    assert len(sections(view["spec"])) == 7


def test_save__with_key_sends_same_definition(
    online: "Server", exit_code: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(save, project="ours") == 0
    (saved,) = online.views
    assert (saved["entityName"], saved["projectName"], saved["displayName"]) == ("team", "ours", "MedTune")
    assert sections(json.loads(saved["spec"])) == sections(definition(workspace("team", "ours", METRICS))["spec"])
    address = capsys.readouterr().out.split(" saved at ")[1].strip()
    assert exit_code(save, project="ours", update=address) == 0
    assert [(view["name"], view.get("id")) for view in online.views] == [(saved["name"], None), (saved["name"], "v")]


def test_save__rejected_view_is_an_error(
    online: "Server", exit_code: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    online.refuse = {"UpsertView2"}
    assert exit_code(save) == 1
    assert "UpsertView2 is refused; nothing was saved" in capsys.readouterr().out
    assert exit_code(save, update=f"{online.url}/team/medtune?nw=unknown") == 1
    assert "nothing was saved" in capsys.readouterr().out


def test_save__rejected_key_and_unreachable_server_are_errors(
    cache: Path,
    server: "Server",
    exit_code: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    server.knows_key = False
    with pytest.raises(InputError, match="rejects the key"):
        save()
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert exit_code(save) == 1
    assert "nothing was saved" in capsys.readouterr().out
    assert server.views == []
