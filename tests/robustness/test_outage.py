"""Two runs at once, full and read-only disks, failing servers: results stay correct and errors are reported.

Small forms of the outages of W&B and Prefect are in tests/tracking/test_run_outage.py and tests/pipeline/test_train.py.
"""

import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from medtune.cli import program
from medtune.stages import data
from tests.robustness.faults import Faults
from tests.robustness.isolated import isolated
from tests.robustness.job import VOLUMES
from tests.robustness.outages import disks
from tests.robustness.outages.at_once import prepare_volumes_twice
from tests.robustness.outages.disks import OTHER_DATA, OTHER_TRAIN, TRAIN
from tests.robustness.outages.job import STEPS, TRAININGS, Job, failure, started_steps
from tests.robustness.outages.servers import KINDS, failing_server
from tests.robustness.profile import is_full

pytestmark = pytest.mark.faults(
    row=13,
    title="the disk is full or read-only, a server of W&B or Prefect fails, or two runs start at the same time",
    target="Each step runs once. Finished results stay intact. Training finishes, or ends with a clear message and "
    "exit code 1",
)
FULL_ONLY = pytest.mark.skipif(not is_full(), reason="make torture only")
# The data stage tests that the network can be trained: here a small network without weights.
DATA_ONLY = {
    "schedule": "frozen",
    "model": {"weights": "none", "backbone_args": {"img_size": 32, "depth": 1}, "head": {"kind": "linear"}},
}
API_KEY = "0123456789" * 4
READ_ONLY = ("out", "out/artifacts", "out/artifacts/frozen", "cache", "cache/logs", "cache/features", "cache/logits")
DISK_FAULTS = {
    **{f"files limited to {size:,} bytes": (disks.limited_files, size) for size in (0, 1_000, 20_000, 60_000, 300_000)},
    **{f"out with {kb:,} KiB free": (disks.full_disk, "out", kb) for kb in (0, 40, 100, 300, 800, 2000)},
    **{f"cache with {kb:,} KiB free": (disks.full_disk, "cache", kb) for kb in (0, 8, 40, 100)},
    **{f"{folder} read-only": (disks.read_only, folder) for folder in READ_ONLY},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished job: all stages without faults."""
    job = Job(tmp_path_factory.mktemp("finished") / "job")
    for command in ("data", TRAIN):
        assert failure(job.run_here(command)) is None
    return job


@pytest.fixture(scope="module")
def finished_volumes(tmp_path_factory):
    """A finished segmentation."""
    job = Job(tmp_path_factory.mktemp("volumes") / "job", base=VOLUMES)
    for command in ("data", TRAIN):
        assert failure(job.run_here(command)) is None
    return job


@pytest.fixture(scope="module")
def other(finished, tmp_path_factory):
    """Results of the finished job after it was trained with other params."""
    job = finished.copy(tmp_path_factory.mktemp("other") / "job")
    assert failure(job.run_here(OTHER_TRAIN)) is None
    return job.content()


@pytest.fixture
def job(finished, tmp_path):
    """A job with prepared data."""
    job = Job(tmp_path / "job")
    shutil.copytree(finished.out / "data", job.out / "data")
    return job


@pytest.mark.slow
@pytest.mark.parametrize("size", [1_000, 20_000])
def test_data__files_that_cannot_grow(faults, tmp_path, size):
    fail_data(faults, tmp_path, size)


@FULL_ONLY
@pytest.mark.parametrize("name", DISK_FAULTS)
def test_stages__failing_disk(faults, finished, other, tmp_path, name):
    job = finished.copy(tmp_path / "job")
    fault, *args = DISK_FAULTS[name]
    fault = partial(fault, *(job.folder / arg if isinstance(arg, str) else arg for arg in args))
    faults.add(isolated(disks.inject_into_stages, job, name, fault, finished.content(), other))


@FULL_ONLY
def test_data__two_runs_at_once(faults, finished, tmp_path):
    job = Job(tmp_path / "job")
    done = run_at_once(job, "data", "data")
    expected = {name: sha256 for name, sha256 in finished.content().items() if name.startswith("data/")}
    problem = next(filter(None, map(failure, done)), None) or job.difference(expected)
    decoded = sum("nothing changed" not in run.stdout for run in done)
    faults.count("data twice", problem or (None if decoded == 1 else f"{decoded} runs decoded the images"))


@FULL_ONLY
@pytest.mark.parametrize(("first", "second"), [
    (TRAIN, TRAIN), ("train", TRAIN), ("train", "train"), ("stage frozen", "stage frozen"), ("stage frozen", TRAIN),
])  # fmt: skip
def test_training__two_runs_at_once(faults, finished, job, first, second):
    done = run_at_once(job, first, second)
    printed = "".join(run.stdout for run in done)
    trained = Counter(re.findall(r"(?m)^(\w+ fold \d): \d+ epochs in", printed))
    steps = Counter(started_steps(printed))
    only_frozen = second != TRAIN and first == "stage frozen"
    expected = {name: 1 for name in TRAININGS if name.startswith("frozen") or not only_frozen}
    problem = next(filter(None, map(failure, done)), None)
    if trained != expected or any(count > 1 for count in steps.values()):
        problem = problem or f"trained {dict(trained)}, ran {dict(steps)}"
    if not only_frozen:
        problem = problem or job.difference(finished.content())
    faults.count(f"{first} and {second}", problem)


@pytest.mark.slow
def test_data_of_volumes__two_runs_at_once(faults, tmp_path):
    faults.add(isolated(prepare_volumes_twice, tmp_path))


@FULL_ONLY
@pytest.mark.parametrize(("first", "second"), [(TRAIN, TRAIN), ("train", TRAIN)])
def test_training_of_volumes__two_runs_at_once(faults, finished_volumes, tmp_path, first, second):
    job = Job(tmp_path / "job", base=VOLUMES)
    shutil.copytree(finished_volumes.out / "data", job.out / "data")
    done = run_at_once(job, first, second)
    steps = Counter(started_steps("".join(run.stdout for run in done)))
    problem = next(filter(None, map(failure, done)), None) or job.difference(finished_volumes.content())
    faults.count(f"{first} and {second} of volumes", problem or (None if steps == Counter(STEPS) else f"ran {steps}"))


@FULL_ONLY
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("service", "command", "message"), [
    ("W&B", f"{TRAIN} --set tracking.mode=online", "recording offline instead"),
    ("Prefect", "train", "continuing without it"),
], ids=["W&B", "Prefect"])  # fmt: skip
def test_training__failing_server(faults, finished, job, service, command, message, kind):
    start = time.monotonic()
    with failing_server(kind) as url:
        done = job.run(command, WANDB_BASE_URL=url, WANDB_API_KEY=API_KEY, PREFECT_API_URL=f"{url}/api")
    faults.measure(f"longest run with {service} in seconds", round(time.monotonic() - start, 1))
    problem = training_problem(done, job, finished)
    if message not in done.stdout:
        problem = problem or "the failure is not reported"
    if service == "W&B" and not list((job.cache / "wandb").glob("*run-*/run-*.wandb")):
        problem = problem or "no run is recorded"
    faults.count(f"{service} server {kind}", problem)


@FULL_ONLY
@pytest.mark.parametrize("step", ["frozen fold 0", "evaluate"])
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGSTOP])
def test_training__prefect_server_is_killed(faults, finished, job, kill, step):
    lines = []
    with job.started("medtune.flows.server", stderr=subprocess.DEVNULL) as server:
        url = server.stdout.readline().strip()
        with job.started("medtune", *job.words("train"), PREFECT_API_URL=url) as training:
            for line in training.stdout:
                lines.append(line)
                if line.startswith(f"{step}: running"):
                    server.send_signal(kill)
            code = training.wait()
    done = subprocess.CompletedProcess(["train"], code, "".join(lines), "")
    faults.count(f"Prefect server gets {kill.name} during {step}", training_problem(done, job, finished))


def test_data__an_error_that_is_not_reported_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "DISK_ERRNOS", ())
    faults = Faults()
    fail_data(faults, tmp_path, 1_000)
    assert any("traceback" in line for line in faults.lost)


def test_data__an_artifact_that_is_written_in_place_is_noticed(tmp_path):
    @contextmanager
    def written_in_place(size):
        with pytest.MonkeyPatch.context() as patch, disks.limited_files(size):
            patch.setattr(data, "partial_dir", lambda folder: folder)
            yield

    faults = Faults()
    fail_data(faults, tmp_path, 1_000, written_in_place)
    assert "data/prepared is missing" in faults.lost[0]


@pytest.mark.parametrize(
    ("code", "err", "problem"),
    [
        (1, "error: No space left on device\n", None),
        (0, "", None),
        (0, "Traceback (most recent call last):\n", "traceback"),
        (-7, "", "0 error lines"),
        (1, "error: frozen failed\n", "does not name the cause"),
    ],
)
def test_report_problem__requires_exit_code_and_cause(code, err, problem):
    found = disks.report_problem(subprocess.CompletedProcess(["data"], code, "", err))
    assert found is None if problem is None else problem in found


def test_training_problem__a_step_that_ran_twice_or_not_at_all_is_noticed():
    printed = "".join(f"{step}: running (key abcdef)\n" for step in ("frozen fold 1", "frozen fold 1", "evaluate"))
    assert "steps ran" in training_problem(subprocess.CompletedProcess(["train"], 0, printed, ""), None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_failing_server(kind):
    expected = {"refuses": "refused", "disconnects": "Re", "another program": "html", "stalls": "timed out",
                "stalls in a response": "timed out"}  # fmt: skip
    with failing_server(kind) as url:
        try:
            received = urllib.request.urlopen(url, timeout=1).read(100).decode()
        except OSError as error:
            received = f"{type(error).__name__} {error}"
    assert expected.get(kind, kind) in received


def fail_data(faults, folder, size, fault=disks.limited_files):
    """Limit the size of files during the data stage of a job without training."""
    job = Job(folder / "job", DATA_ONLY)
    assert failure(job.run_here("data")) is None
    name = f"files limited to {size:,} bytes"
    disks.inject(faults, job, name, partial(fault, size), OTHER_DATA, ["data"], job.content())


def run_at_once(job, *commands):
    """Run commands at the same time."""
    with ThreadPoolExecutor(len(commands)) as threads:
        return list(threads.map(job.run, commands))


def training_problem(done, job, finished):
    """Return a message unless a training succeeded, ran every step once and wrote the expected results."""
    if problem := failure(done):
        return problem
    if (steps := started_steps(done.stdout)) != STEPS:
        return f"steps ran: {steps}"
    return job.difference(finished.content())
