"""Flipped bits in, truncation and deletion of every kind of file that MedTune writes or reads.

Damage is noticed if the reader reports it in one line, or treats the file as absent and computes it again.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.runtime import artifact
from medtune.serving import manifest
from tests.robustness.damage import job_files, other_files
from tests.robustness.damage.faults import damages, replaced
from tests.robustness.profile import examples
from tests.robustness.reading import problem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults(
        row=3,
        title="a bit of a file is flipped, or the file is cut off or deleted",
        target="Each of 1,000 faults is detected before the file is used",
    ),
]


@pytest.fixture(scope="module")
def job_targets(tmp_path_factory):
    return job_files.targets(tmp_path_factory.mktemp("job"))


@pytest.mark.xdist_group("damage")
@pytest.mark.parametrize("name", job_files.NAMES)
@examples(small=6, full=60)
@given(data=st.data())
def test_damage__to_a_file_of_a_job_is_noticed(faults, job_targets, name, data):
    faults.measure("kinds of file that a job writes", len(job_files.NAMES))
    inject(faults, job_targets[name], data)


@pytest.fixture
def other_target(request, tmp_path, monkeypatch):
    return other_files.TARGETS[request.param](tmp_path, monkeypatch)


@pytest.mark.parametrize("other_target", other_files.TARGETS, indirect=True)
@examples(small=10, full=50)
@given(data=st.data())
def test_damage__to_another_file_is_noticed(faults, other_target, data):
    faults.measure("other kinds of file", len(other_files.TARGETS))
    inject(faults, other_target, data)


def inject(faults, target, data):
    file, content, fault = data.draw(damages(target.files))
    with replaced(file, content):
        faults.count(fault, problem(target.read, file))


@pytest.mark.xdist_group("damage")
@pytest.mark.parametrize("name", job_files.NAMES)
def test_damage__intact_files_are_used(job_targets, name):
    files, read = job_targets[name]
    assert problem(read, files[0]) == "used"


@pytest.mark.xdist_group("damage")
@pytest.mark.parametrize("name", sorted({*job_files.NAMES} - {*job_files.SELF_VERIFYING}))
def test_damage__without_verification_is_used(job_targets, name, monkeypatch):
    monkeypatch.setattr(artifact, "verify", lambda artifact: True)
    monkeypatch.setattr(manifest, "read_file", lambda folder, document, name: (folder / name).read_bytes())
    monkeypatch.setattr(manifest, "check_file", lambda folder, document, name: None)
    assert any(is_used_if_damaged(file, job_targets[name].read) for file in job_targets[name].files)


def is_used_if_damaged(file, read):
    with replaced(file, file.read_bytes()[:-1] + b"?"):
        return problem(read, file) == "used"
