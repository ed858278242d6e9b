"""What the job's benchmark runs, in order, and how it counts. The commands themselves run in tests/pipeline."""

from contextlib import contextmanager

import pytest

from benchmarks import job

STEPS = ("frozen fold 1", "finetune fold 1", "evaluate", "export")


def said(*states):
    return "".join(f"{step}: {state} (key abcdef)\n" for step, state in zip(STEPS, states, strict=True))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Replaces the copy of the checkout by one that answers at once; gives its commands and answers."""
    given = []
    answers = {
        "repro": [(said(*["running"] * 4), 60.0), (said("cached", "cached", "running", "running"), 30.0)],
        "direct": [(said(*["cached"] * 4), 1.0)] * 2,
        "flow": [(said(*["cached"] * 4), seconds) for seconds in (21.0, 9.0, 25.0, 11.0)],
    }

    class Copy:
        folder = tmp_path

        def run(self, *words):
            given.append(" ".join(words))
            if words[0] == "dvc":
                return answers["repro"].pop(0)
            if "params" in words:
                return "", 0.1
            (tmp_path / ".cache" / "prefect").mkdir(parents=True, exist_ok=True)
            return answers["direct" if "--no-prefect" in words else "flow"].pop(0)

    @contextmanager
    def copied(sets):
        (tmp_path / ".cache" / "prefect").mkdir(parents=True)
        yield Copy()

    monkeypatch.setattr(job, "copied", copied)
    return given, answers


def test_measure__whole_changed_and_prefects_part(runs):
    whole, changed, new, later = job.measure(rounds=2)
    assert (whole.value, whole.target, whole.met) == (60.0, "<= 180 s", True)
    assert (changed.value, changed.target) == (30.0, "")
    assert (new.value, new.target) == (22.0, "<= 35 s")
    assert (later.value, later.target) == (9.0, "<= 15 s")
    assert runs[0][:3] == ["dvc repro", "python -m medtune params set evaluate.reliability_bins=14", "dvc repro"]


def test_measure__a_step_that_runs_again_is_an_error(runs):
    runs[1]["direct"][0] = (said("cached", "running", "cached", "cached"), 1.0)
    with pytest.raises(RuntimeError, match="3 steps were cached, expected 4"):
        job.measure(rounds=1)


def test_measure__a_fault_of_prefects_is_an_error(runs):
    runs[1]["flow"][0] = (said(*["cached"] * 4) + "Prefect: Unavailable: no; continuing without it", 1.0)
    with pytest.raises(RuntimeError, match="continuing without it"):
        job.measure(rounds=1)
