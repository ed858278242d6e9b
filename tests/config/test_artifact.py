"""Artifacts: whole or absent, and every change to one is seen."""

import random

import pytest

from config import artifact


def write(folder, key="k", text="hello"):
    work = artifact.partial(folder)
    work.mkdir(parents=True)
    (work / "a.txt").write_text(text)
    (work / "sub").mkdir()
    (work / "sub" / "b.bin").write_bytes(bytes(range(256)))
    return artifact.publish(folder, key, {"figure": 1})


def test_publish__is_found_with_its_key_and_result(tmp_path):
    made = write(tmp_path / "out")
    assert artifact.find(tmp_path / "out", "k") == made
    assert made.result()["figure"] == 1
    assert artifact.find(tmp_path / "out", "other") is None


def test_publish__replaces_whole(tmp_path):
    write(tmp_path / "out")
    second = write(tmp_path / "out", "k2", "bye")
    assert artifact.find(tmp_path / "out", "k2") == second
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_recover__after_a_crash_between_the_renames(tmp_path):
    made = write(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    assert artifact.find(tmp_path / "out", "k") == made


@pytest.mark.parametrize("seed", range(60))
def test_find__sees_every_mutation(tmp_path, seed):
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
            at = rng.randrange(len(data))
            data[at] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
    found = artifact.find(tmp_path / "out", "k")
    # A flipped bit in result.json may only hit a part that carries no content; then nothing was lost either.
    assert found is None or (path.name == artifact.RESULT and found.sha256 == write(tmp_path / "again").sha256)


def test_digest__one_spelling():
    assert artifact.digest({"b": 1, "a": [1.5, None]}) == artifact.digest({"a": [1.5, None], "b": 1})
    with pytest.raises(ValueError):
        artifact.digest({"x": float("nan")})
