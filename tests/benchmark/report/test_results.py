import csv

from medtune.benchmark.report.records import CellId, CellRecord
from medtune.benchmark.report.results import COST_COLUMNS, LEADING_COLUMNS, TRAILING_COLUMNS, write_results


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_results__are_read_back(tmp_path, make_cells):
    cells = make_cells({"linear": 0.5, "lora": 1.0}, seeds=(1, 2))
    cells.insert(1, CellRecord(CellId("toy", "vit", "vera", 10, 1), None, None, "RuntimeError: no\n  memory, none"))
    cells.append(CellRecord(CellId("toy", "vit", "vera", 10, 2), None, None, None))
    write_results(tmp_path / "results.csv", cells)
    rows = read(tmp_path / "results.csv")
    assert [row["status"] for row in rows] == ["done", "failed", "done", "done", "done", "pending"]
    for cell, row in zip(cells, rows, strict=True):
        assert CellId(*(kind(row[name]) for name, kind in CellId.__annotations__.items())) == cell.identity
        if cell.result:
            assert float(row["auroc"]) == round(cell.result["metrics"]["auroc"]["value"], 6)
            assert (row["train_images"], row["test_groups"], row["torch"]) == ("20", "24", "2.10")
            assert row["auroc_lo"] == row["error"] == ""
        else:
            assert {row[name] for name in ("lr", "auroc", "trainable", *COST_COLUMNS)} == {""}
    assert rows[1]["error"] == "RuntimeError: no memory, none"
    assert rows[0]["peak_memory_mb"] == ""
    assert rows[0]["trainable"] == "0"


def test_results__same_cells_same_bytes(tmp_path, make_cells):
    cells = make_cells({"lora": 1.0})
    for name in ("a", "b"):
        write_results(tmp_path / name, cells)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_results__of_nothing(tmp_path):
    write_results(tmp_path / "results.csv", [])
    assert (tmp_path / "results.csv").read_text() == ",".join([*LEADING_COLUMNS, *TRAILING_COLUMNS]) + "\n"
    assert set(COST_COLUMNS) < set(TRAILING_COLUMNS)
