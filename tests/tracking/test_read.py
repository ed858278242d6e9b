import math
from pathlib import Path

import pytest

from medtune.config.schema import Params
from medtune.tracking.read import read_run
from medtune.tracking.run import start_run
from tests.tracking.recorded_runs import read_runs

KEY = "d" * 64


def test_read_run__returns_logged_values(cache: Path, params: Params) -> None:
    with start_run("evaluate", KEY, "group", params, "evaluate") as run:
        run.log({"val/auroc": math.nan, "val/loss": 0.1234567890123456}, 3)
        run.table("test/classes", ("class", "recall"), [("a & b", None)])
        run.summary({"protocol": "patient", "lists": ["one", "two"], "none": None, "class/a.b/recall": 1.0})
    (result,) = read_runs(cache)
    assert math.isnan(result.curve("val/auroc")[3])
    assert result.curve("val/loss") == {3: 0.1234567890123456}
    assert (result.summary["protocol"], result.summary["lists"], result.summary["none"]) == (
        "patient",
        ["one", "two"],
        None,
    )
    assert result.summary["class/a.b/recall"] == 1.0
    assert result.summary["test/classes"]["_type"] == "html-file"
    assert result.summary["test/classes"]["path"] in result.files
    (page,) = cache.rglob("media/html/**/*.html")
    assert "<td>a &amp; b</td><td></td>" in page.read_text()


def test_read_run__invalid_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"run-x\.wandb is not a \.wandb file"):
        read_run(path)
