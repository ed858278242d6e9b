"""Artifacts: atomic commits, and detection of every change to a file."""

import random

import pytest

from medtune.runtime import artifact


def write(folder, key="k", text="hello"):
    partial = artifact.partial_dir(folder)
    partial.mkdir(parents=True)
    (partial / "a.txt").write_text(text)
    (partial / "sub").mkdir()
    (partial / "sub" / "b.bin").write_bytes(bytes(range(256)))
    return artifact.commit(folder, key, {"metric": 1})


def test_find_artifact__returns_the_artifact_with_the_same_key(tmp_path):
    written = write(tmp_path / "out")
    assert artifact.find_artifact(tmp_path / "out", "k") == written
    assert written.result()["metric"] == 1
    assert artifact.find_artifact(tmp_path / "out", "other") is None


def test_commit__replaces_an_earlier_artifact(tmp_path):
    write(tmp_path / "out")
    second = write(tmp_path / "out", "k2", "bye")
    assert artifact.find_artifact(tmp_path / "out", "k2") == second
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_find_artifact__recovers_from_a_crash_between_the_renames(tmp_path):
    written = write(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    assert artifact.find_artifact(tmp_path / "out", "k") == written


@pytest.mark.parametrize("seed", range(60))
def test_find_artifact__detects_every_mutation(tmp_path, seed):
    write(tmp_path / "out")
    rng = random.Random(seed)
    path = rng.choice([p for p in (tmp_path / "out").rglob("*") if p.is_file()])
    data = bytearray(path.read_bytes())
    match rng.randrange(3):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(data[: rng.randrange(len(data))])
        case _:
            position = rng.randrange(len(data))
            data[position] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
    assert artifact.find_artifact(tmp_path / "out", "k") is None


def test_result__rejects_changed_content(tmp_path):
    written = write(tmp_path / "out")
    path = tmp_path / "out" / artifact.RESULT_FILE
    path.write_text(path.read_text().replace('"metric": 1', '"metric": 2'))
    assert artifact.find_artifact(tmp_path / "out") is None
    with pytest.raises(RuntimeError, match=r"result\.json is damaged"):
        written.result()


def test_digest__is_canonical():
    assert artifact.digest({"b": 1, "a": [1.5, None]}) == artifact.digest({"a": [1.5, None], "b": 1})
    with pytest.raises(ValueError):
        artifact.digest({"x": float("nan")})
