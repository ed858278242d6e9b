"""A benchmark of segmentation: workers of a Dask cluster give the same rows as this process."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.benchmark.report.results import COST_COLUMNS
from tests.pipeline.dask_cluster import dask_cluster

if TYPE_CHECKING:
    from tests.pipeline.conftest import Checkout

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(900)]

GRID = """
benchmark:
  data:
    phantom: {source: phantom, patients: 9, size: 16, patch: [16, 16, 16],
              split: {protocol: patient, folds: 3, test_fold: 1}}
  backbones:
    none: {weights: none, backbone_args: {}}
    test_vit: {weights: bundled, backbone_args: {}}
  methods: [decoder, lora]
  train_percent: [100]
  lr: {decoder: [1.0e-2], lora: [3.0e-3]}
  head: decoder
  metric: dice
  min_steps: 4
task: {kind: segmentation}
model: {head: {kind: decoder, width: 4}}
frozen: {epochs: 1, feature_views: 1, batch_size: 4, monitor: dice}
finetune: {epochs: 1, batch_size: 4, monitor: dice}
gate: {metric: dice}
tracking: {mode: disabled}
"""


def run(checkout: "Checkout", out: Path, *arguments: str) -> list[dict[str, str]]:
    """Run the benchmark, and return the rows of results.csv without the columns that differ between runs."""
    printed = checkout.run(
        "python", "-m", "medtune", "benchmark", "--grid", "volumes.yaml", "--out", str(out), *arguments
    )
    assert "benchmark: 3 trials, 0 already finished, 3 to run" in printed
    assert "continuing without it" not in printed
    with (out / "artifacts" / "benchmark" / "results.csv").open(newline="") as stream:
        return [
            {name: text for name, text in row.items() if name not in COST_COLUMNS} for row in csv.DictReader(stream)
        ]


def test_dask__gives_the_rows_of_a_local_run(checkout: "Checkout", tmp_path: Path) -> None:
    (checkout.folder / "volumes.yaml").write_text(GRID)
    expected = run(checkout, tmp_path / "local", "--no-prefect")
    assert [(row["backbone"], row["method"], row["status"]) for row in expected] == [
        ("none", "decoder", "done"), ("test_vit", "decoder", "done"), ("test_vit", "lora", "done")
    ]  # fmt: skip
    assert all(0 <= float(row["dice"]) <= 1 for row in expected)
    with dask_cluster(checkout, tmp_path) as (address, _):
        runner = f"benchmark.runner={{kind: dask, address: '{address}'}}"
        assert run(checkout, tmp_path / "dask", "--set", runner) == expected
