"""Image folders and results of `medtune init` for tests."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medtune.cli.main import call


def images(root: Path, *paths: str, side: int = 40) -> Path:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side + 8), (number * 7 % 256, number * 31 % 256, 40)).save(root / path)
    return root


def table(root: Path, *columns: str, rows: int) -> None:
    with (root / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([(f"{n}.png", "ab"[n % 2], f"P{n // 2}")[: len(columns)] for n in range(rows)])


def init(project: Path, data: Path, capsys: pytest.CaptureFixture[str], positive: str | None = "b") -> dict[str, Any]:
    options = [] if positive is None else ["--positive", positive]
    assert call(["init", str(project), "--data", str(data), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)
