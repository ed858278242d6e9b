import csv

from medtune.benchmark.report.records import TrialId, TrialRecord
from medtune.benchmark.report.results import COST_COLUMNS, LEADING_COLUMNS, TRAILING_COLUMNS, write_results


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_results__have_all_values(tmp_path, make_trials):
    trials = make_trials({"linear": 0.5, "lora": 1.0}, seeds=(1, 2))
    trials.insert(1, TrialRecord(TrialId("toy", "vit", "vera", 10, 1), None, None, "RuntimeError: no\n  memory, none"))
    trials.append(TrialRecord(TrialId("toy", "vit", "vera", 10, 2), None, None, None))
    write_results(tmp_path / "results.csv", trials)
    rows = read(tmp_path / "results.csv")
    assert [row["status"] for row in rows] == ["done", "failed", "done", "done", "done", "pending"]
    for trial, row in zip(trials, rows, strict=True):
        assert TrialId(*(kind(row[name]) for name, kind in TrialId.__annotations__.items())) == trial.identity
        if trial.result:
            assert float(row["auroc"]) == round(trial.result["metrics"]["auroc"]["value"], 6)
            assert (row["train_images"], row["test_patients"], row["torch"]) == ("20", "24", "2.10")
            assert row["auroc_lo"] == row["error"] == ""
        else:
            assert {row[name] for name in ("lr", "auroc", "trainable", *COST_COLUMNS)} == {""}
    assert rows[1]["error"] == "RuntimeError: no memory, none"
    assert rows[0]["peak_memory_mb"] == ""
    assert rows[0]["trainable"] == "0"


def test_results__same_trials_same_bytes(tmp_path, make_trials):
    trials = make_trials({"lora": 1.0})
    for name in ("a", "b"):
        write_results(tmp_path / name, trials)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_results__without_trials(tmp_path):
    write_results(tmp_path / "results.csv", [])
    assert (tmp_path / "results.csv").read_text() == ",".join([*LEADING_COLUMNS, *TRAILING_COLUMNS]) + "\n"
    assert set(COST_COLUMNS) < set(TRAILING_COLUMNS)
