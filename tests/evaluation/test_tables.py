"""CSV files, and learning curves joined over folds and stages."""

import csv

from medtune.evaluation import tables


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_join_history__continues_epochs_and_averages_folds(tmp_path):
    first_fold = [{"epoch": 1, "step": 4, "val/loss": 1.0}, {"epoch": 2, "step": 8, "val/loss": 0.5}]
    second_fold = [{"epoch": 1, "step": 4, "val/loss": 3.0}]
    finetuned = [{"epoch": 0, "val/loss": 0.5}, {"epoch": 1, "val/loss": 0.25, "lr": 0.1}]
    joined = tables.join_history([("frozen", [first_fold, second_fold]), ("finetune", [finetuned])])
    assert [(row["epoch"], row["stage"], row["folds"], row["val/loss"]) for row in joined] == [
        (1, "frozen", 2, 2.0),
        (2, "frozen", 1, 0.5),
        (3, "finetune", 1, 0.25),
    ]
    tables.write_history(tmp_path / "h.csv", joined)
    assert read(tmp_path / "h.csv")[0] == {"epoch": "1", "stage": "frozen", "folds": "2", "val/loss": "2.0", "lr": ""}


def test_join_history__full_schedule_includes_epoch_0():
    joined = tables.join_history([("finetune", [[{"epoch": 0, "val/loss": 1.0}, {"epoch": 1, "val/loss": 0.5}]])])
    assert [row["epoch"] for row in joined] == [0, 1]


def test_read_history__no_file(tmp_path):
    assert tables.read_history(tmp_path / "history.csv") == []


def test_write_csv__special_characters_are_preserved(tmp_path):
    tables.write_csv(tmp_path / "a.csv", ["path", "x"], [['a,"b"\nc', None]])
    assert read(tmp_path / "a.csv") == [{"path": 'a,"b"\nc', "x": ""}]
