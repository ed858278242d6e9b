"""Mistakes of users: each must end with one line that names it, and must change no file."""

import subprocess
from itertools import islice

import pytest

from medtune.config import load
from medtune.config.base import StrictParams
from medtune.serving.bundle import Bundle
from tests.robustness import job
from tests.robustness.faults import Faults
from tests.robustness.mistakes import bundles, images, params, training, values
from tests.robustness.mistakes.mistake import Mistake, changes, inject, snapshot, write_small
from tests.robustness.profile import is_full, scale

pytestmark = pytest.mark.faults(
    row=15,
    title="a setting, a file or a network is wrong",
    target="A message names the mistake. The exit code is 2 for wrong input, or 1 for a failed run",
)
full_only = pytest.mark.skipif(not is_full(), reason="only in make torture")
BLOCKS = scale(1, 4)
FAST = [params.params_files, params.remotes, params.recipes]
NEEDS_NO_RUN = [params.grids, images.image_folders, training.networks]
NEEDS_A_RUN = [training.settings, training.runs, bundles.bundles, bundles.options]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder with a finished run in `out`, of which no mistake may change a file."""
    folder = tmp_path_factory.mktemp("finished")
    chosen = load.load(write_small(folder))
    job.train(chosen, job.prepare(folder / "out", chosen))
    images.draw(folder, bundles.IMAGE)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_mistakes__in_the_value_of_a_key(faults, tmp_path, block):
    inject(faults, tmp_path, islice(values.all_keys(), block, None, scale(24, BLOCKS)))


@pytest.mark.slow
@pytest.mark.parametrize("group", [*FAST, *(pytest.param(group, marks=full_only) for group in NEEDS_NO_RUN)])
def test_mistakes__before_a_run(faults, tmp_path, group):
    inject(faults, tmp_path, group(tmp_path))


@full_only
@pytest.mark.parametrize("group", NEEDS_A_RUN)
def test_mistakes__after_a_run(faults, finished, group):
    inject(faults, finished, group(finished))


@full_only
def test_mistakes__in_arrays_and_requests(faults, finished):
    bundle = Bundle.load(finished / bundles.BUNDLE)
    bundles.send_arrays(faults, bundle)
    bundles.send_requests(faults, bundle, (finished / bundles.IMAGE).read_bytes())


def test_mistakes__boolean_as_number_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("medtune.config.base._accepts_bool", lambda annotation: True)
    assert StrictParams.__pydantic_decorators__.field_validators  # otherwise nothing was disabled
    faults = Faults()
    inject(faults, tmp_path, islice(values.all_keys(), 0, None, 24))
    assert any("=true" in line for line in faults.lost)


def test_mistakes__vague_message_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "format_validation_error", lambda *problem: "something is wrong")
    faults = Faults()
    inject(faults, tmp_path, islice(values.all_keys(), 0, None, 24))
    assert len(faults.lost) > 10
    assert all("is not in" in line for line in faults.lost)


@pytest.mark.parametrize(
    ("code", "stderr", "problem"),
    [
        (2, "error: seed=-1\n", None),
        (1, "error: seed=-1\n", "exit code 1"),
        (2, "error: frozen=-1\n", "'seed' is not in"),
        (2, "error: seed\nerror: seed\n", "2 error lines"),
        (1, "Traceback (most recent call last):\nValueError: seed\n", "traceback"),
    ],
)
def test_problem__requires_one_line_with_the_name_and_the_exit_code(code, stderr, problem):
    result = Mistake("train", (), ("seed",)).problem(subprocess.CompletedProcess([], code, "", stderr))
    assert result is None if problem is None else problem in result


def test_changes__list_new_changed_and_deleted_files(tmp_path):
    (tmp_path / "first").write_text("x")
    before = snapshot(tmp_path)
    assert changes(before, snapshot(tmp_path)) is None
    (tmp_path / "second").write_text("x")
    assert changes(before, snapshot(tmp_path)) == "changed files: second"
    (tmp_path / "first").unlink()
    assert changes(before, snapshot(tmp_path)) == "changed files: first, second"
