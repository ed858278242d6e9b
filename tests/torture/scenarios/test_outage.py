"""A write that fails in the middle of a file; and a safeguard that is gone would be seen.

W&B's and Prefect's outages have their small forms in tests/tracking/test_run_outage.py and
tests/pipeline/test_train.py, mounts in tests/doctor/test_folders.py.
"""

import urllib.request

import pytest

from medtune.cli import program
from medtune.runtime import artifact
from torture.outages import disk_faults, service_faults
from torture.outages.servers import KINDS, failing
from torture.wrong.expected_errors import Ended


@pytest.mark.slow
def test_outage__a_write_that_fails_is_said_and_made_good(small):
    outcome = small("outage")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 4


def test_outage__a_fault_that_is_not_said_is_seen(small, monkeypatch):
    monkeypatch.setattr(program, "DISK_ERRNOS", ())
    assert any("code None" in line for line in small("outage", "data").lost)


def test_outage__a_finished_folder_that_is_written_in_place_is_seen(small, monkeypatch):
    # Without a folder beside it, what was there is gone before the new one is whole.
    monkeypatch.setattr(artifact, "partial_dir", lambda folder: folder)
    monkeypatch.setattr("medtune.stages.data.partial_dir", lambda folder: folder)
    lost = small("outage", "data").lost
    assert lost


@pytest.mark.parametrize(
    ("code", "err", "fault"),
    [
        (1, "error: No space left on device\n", None),
        (0, "", None),
        (0, "Traceback (most recent call last):\n", "a traceback"),
        (-7, "", "0 lines"),
        (1, "error: frozen failed\n", "said"),
        (None, "did not end", "code None"),
    ],
)
def test_judge__wants_the_reason_and_a_code(code, err, fault):
    found = disk_faults._judge(Ended(code, "", err))
    assert found is None if fault is None else found is not None and fault in found


def test_trained__a_step_that_ran_twice_or_not_at_all_is_seen():
    printed = "".join(f"{step}: running (key abcdef)\n" for step in ("frozen fold 1", "frozen fold 1", "evaluate"))
    assert "steps ran" in str(service_faults._trained(None, None, 0, printed, ""))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_failing__server_fails_as_it_says(kind):
    with failing(kind) as address:
        try:
            said = urllib.request.urlopen(address, timeout=1).read(100).decode()
        except OSError as error:
            said = f"{type(error).__name__} {error}"
    expected = {"401": "401", "500": "500", "503": "503", "another program": "html", "refuses": "refused",
                "stalls": "timed out", "stalls in an answer": "timed out"}  # fmt: skip
    assert expected.get(kind, "Re") in said, said
