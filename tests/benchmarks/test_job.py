"""Benchmark of the job: commands and measured times. tests/pipeline runs the commands themselves."""

from contextlib import contextmanager

import pytest

from benchmarks import job

STEPS = ("frozen fold 1", "finetune fold 1", "evaluate", "export")


def job_log(*states):
    return "".join(f"{step}: {state} (key abcdef)\n" for step, state in zip(STEPS, states, strict=True))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Replace the copy of the checkout by prepared answers; return the commands and the answers."""
    commands = []
    answers = {
        "repro": [(job_log(*["running"] * 4), 60.0), (job_log("cached", "cached", "running", "running"), 30.0)],
        "direct": [(job_log(*["cached"] * 4), 1.0)] * 2,
        "flow": [(job_log(*["cached"] * 4), seconds) for seconds in (21.0, 9.0, 25.0, 11.0)],
    }

    class Copy:
        folder = tmp_path

        def run(self, *arguments):
            commands.append(" ".join(arguments))
            if arguments[0] == "dvc":
                return answers["repro"].pop(0)
            if "params" in arguments:
                return "", 0.1
            (tmp_path / ".cache" / "prefect").mkdir(parents=True, exist_ok=True)
            return answers["direct" if "--no-prefect" in arguments else "flow"].pop(0)

    @contextmanager
    def copied_checkout(sets):
        (tmp_path / ".cache" / "prefect").mkdir(parents=True)
        yield Copy()

    monkeypatch.setattr(job, "copied_checkout", copied_checkout)
    return commands, answers


def test_measure__complete_and_changed_run_and_prefect_overhead(runs):
    complete, changed, new, existing = job.measure(rounds=2)
    assert (complete.value, complete.target, complete.met) == (60.0, "<= 180 s", True)
    assert (changed.value, changed.target) == (30.0, "")
    assert (new.value, new.target) == (22.0, "<= 35 s")
    assert (existing.value, existing.target) == (9.0, "<= 15 s")
    assert runs[0][:3] == ["dvc repro", "python -m medtune params set evaluate.reliability_bins=14", "dvc repro"]


def test_measure__repeated_step_is_an_error(runs):
    runs[1]["direct"][0] = (job_log("cached", "running", "cached", "cached"), 1.0)
    with pytest.raises(RuntimeError, match="3 steps were cached, expected 4"):
        job.measure(rounds=1)


def test_measure__prefect_failure_is_an_error(runs):
    runs[1]["flow"][0] = (job_log(*["cached"] * 4) + "Prefect: Unavailable: no; continuing without it", 1.0)
    with pytest.raises(RuntimeError, match="continuing without it"):
        job.measure(rounds=1)
