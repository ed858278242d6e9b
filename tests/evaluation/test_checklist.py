"""Checklist: every item has a row, and all answers come from facts."""

from types import SimpleNamespace

import numpy as np
import pytest

from medtune.config.load import validate
from medtune.evaluation.checklist import UNKNOWN, write_checklist
from medtune.evaluation.checklist_items import CLAIM, TRIPOD_AI
from medtune.evaluation.intervals import Interval
from medtune.tasks.classification.metrics import METRICS

MODEL = {
    "backbone": "test_vit",
    "weights": "/home/me/secret.pth",
    "head": {"kind": "linear"},
    "peft": {"method": "none"},
}
PARAMS = validate({"data": {"source": "synthetic"}, "model": MODEL})


def make_prepared(**info):
    known = {
        "name": "Set | one", "citation": "Nobody <2020>", "notes": ["2 images were excluded."], "faults": [],
        "n_images": 1200, "n_patients": 30, "license": None, "protocol": "patient", "leaked_patients": [],
    }  # fmt: skip
    labels = np.arange(12) % 2
    return SimpleNamespace(info=known | info, classes=("benign", "malignant"), has=lambda k: labels == k)


def make_facts(**changes):
    facts = {
        "key": "abc", "patients_known": True, "folds": [{}, {}], "positive": "malignant", "unit": "images",
        "n_images": 400, "n_patients": 10, "stage": "finetune", "percent": "95", "warnings": ["Few patients."],
        "label_errors": {"candidates": 3, "n_images": 400},
    }  # fmt: skip
    return facts | changes


@pytest.fixture
def write(tmp_path):
    def run(prepared, facts):
        test = {"auroc": Interval(0.9, 0.8, 0.95), "accuracy": Interval(0.7, None, None, "few")}
        write_checklist(tmp_path / "checklist.md", PARAMS, prepared, facts, test, METRICS)
        return (tmp_path / "checklist.md").read_text()

    return run


def rows(page: str) -> list[list[str]]:
    lines = [line.replace("\\|", "/") for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| item")]


def test_checklist__one_row_per_item_with_an_answer(write):
    result = rows(write(make_prepared(), make_facts()))
    assert [row[0] for row in result] == [number for number, _, _ in (*TRIPOD_AI, *CLAIM)]
    assert all(len(row) == 3 and row[2] for row in result)
    answered = [row for row in result if row[2] != UNKNOWN]
    assert 40 < len(answered) < len(result) - 20
    # MedTune never answers an item without a fact.
    for row, (_, _, fact) in zip(result, (*TRIPOD_AI, *CLAIM), strict=True):
        assert fact is not None or row[2] == UNKNOWN


def test_checklist__facts(write):
    page = write(make_prepared(), make_facts())
    for answer in (
        "AUROC 0.900 (0.800 to 0.950)", "accuracy 0.700", "positive class: malignant", "benign: 6, malignant: 6",
        "1,200 images, 30 patients", "disjoint at the level of patients.", "3 of 400 images are candidates",
        "Few patients.", "Set \\| one", "Nobody &lt;2020>", "No external images were evaluated.",
    ):  # fmt: skip
        assert answer in page, answer
    assert "secret" not in page
    assert "a local file" in page


def test_checklist__leaks_and_unknown_patients(write):
    assert "disjoint at the level of images, not patients." in write(make_prepared(protocol="image"), make_facts())
    assert "disjoint at the level of images, not patients." in write(make_prepared(leaked_patients=["a"]), make_facts())
    assert "patients unknown" in write(make_prepared(), make_facts(patients_known=False))


@pytest.mark.parametrize("text", ["Nobody (2020)", "Nobody (2020).", "Nobody (2020).. "])
def test_checklist__texts_of_the_source_end_with_one_full_stop(write, text):
    page = write(make_prepared(citation=text, license=text), make_facts())
    assert "Citation: Nobody (2020). Representativeness" in page
    assert "License of the images: Nobody (2020). Access" in page
    assert ".." not in page


def test_checklist__names_volumes(write):
    page = write(make_prepared(protocol="image"), make_facts(unit="volumes", patients_known=False))
    assert "Test set: 400 volumes, patients unknown." in page
    for text in ("400 volumes", "Volumes per class", "at the level of volumes", "on test volumes.", "of the volumes:"):
        assert text in page


def test_items__numbers_of_the_publications():
    assert len({number for number, _, _ in TRIPOD_AI}) == len(TRIPOD_AI) == 52
    assert [number for number, _, _ in CLAIM] == [str(k) for k in range(1, 43)]
