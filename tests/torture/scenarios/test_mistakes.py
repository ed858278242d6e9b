"""Mistakes of all kinds are named; and a check that is gone, or a message that names nothing, would be seen."""

import pytest

from medtune.config import load
from medtune.config.base import StrictParams
from torture.wrong import expected_errors


@pytest.mark.slow
def test_mistakes__are_named_in_one_line(small):
    outcome = small("mistakes")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived > 140


def test_mistakes__true_for_a_number_is_seen(small, monkeypatch):
    monkeypatch.setattr("medtune.config.base._accepts_bool", lambda annotation: True)
    assert StrictParams.__pydantic_decorators__.field_validators  # what is switched off is what params are read with
    assert any("=true" in line for line in small("mistakes", "values").lost)


def test_mistakes__message_that_names_nothing_is_seen(small, monkeypatch):
    monkeypatch.setattr(load, "format_validation_error", lambda *problem: "something is wrong")
    lost = small("mistakes", "values").lost
    assert len(lost) > 10
    assert all("is not in" in line for line in lost)


@pytest.mark.parametrize(
    ("code", "err", "fault"),
    [
        (2, "error: seed is -1\n", None),
        (1, "error: seed is -1\n", "exit code 1"),
        (2, "error: frozen is -1\n", "'seed' is not in"),
        (2, "error: seed\nerror: seed\n", "2 lines"),
        (None, "ValueError: seed\n", "a traceback"),
        (2, "Traceback (most recent call last):\nerror: seed\n", "a traceback"),
    ],
)
def test_judge__wants_one_line_with_its_name_and_its_code(code, err, fault):
    found = expected_errors.judge(
        expected_errors.Case("x", "train", (), ("seed",)), expected_errors.Ended(code, "", err)
    )
    assert found is None if fault is None else found is not None and fault in found


def test_difference__names_what_was_written_changed_or_lost(tmp_path):
    (tmp_path / "kept").write_text("x")
    before = expected_errors.snapshot(tmp_path)
    assert expected_errors.difference(before, expected_errors.snapshot(tmp_path)) is None
    (tmp_path / "new").write_text("x")
    assert expected_errors.difference(before, expected_errors.snapshot(tmp_path)) == "new was written"
    (tmp_path / "new").unlink()
    (tmp_path / "kept").unlink()
    assert expected_errors.difference(before, expected_errors.snapshot(tmp_path)) == "kept is gone"
