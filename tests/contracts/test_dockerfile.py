"""What can be held of the Dockerfile without a Docker engine: sources exist, installs are locked, no one is root."""

import fnmatch
import re
import shlex
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, list[str]]]:
    text = re.sub(r"\\\n", " ", (PROJECT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    return [(word, shlex.split(rest)) for word, _, rest in (ln.partition(" ") for ln in lines if ln and ln[0] != "#")]


def stages() -> dict[str, list[tuple[str, list[str]]]]:
    found: dict[str, list[tuple[str, list[str]]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = rest[-1]
            found[name] = []
        found[name].append((word, rest))
    return found


def ignored(path: str) -> bool:
    verdict = False
    for line in (PROJECT / ".dockerignore").read_text(encoding="utf-8").split():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = [path, *(str(parent) for parent in Path(path).parents)]
        if any(fnmatch.fnmatch(part, pattern) for part in parts):
            verdict = not line.startswith("!")
    return verdict


def copied(stage: str) -> list[str]:
    return [
        source
        for word, rest in stages()[stage]
        if word == "COPY" and not any(part.startswith("--from=") for part in rest)
        for source in [part for part in rest if not part.startswith("--")][:-1]
    ]


@pytest.mark.parametrize("stage", list(stages()))
def test_copy__sources_exist_and_are_sent_to_the_build(stage):
    for source in copied(stage):
        assert (PROJECT / source).exists(), source
        assert not ignored(source.rstrip("/")), source


def test_stages__build_on_stages_that_come_before():
    known = {"python:3.11-slim"}
    for name, parts in stages().items():
        for word, rest in parts:
            sources = [rest[0]] if word == "FROM" else [p[7:] for p in rest if p.startswith("--from=")]
            assert set(sources) <= known, (name, sources)
        known.add(name)
    assert list(stages())[-1] == "handoff"


@pytest.mark.parametrize(("stage", "lock"), [("train-env", "train.lock"), ("handoff-env", "handoff.lock")])
def test_installs__come_from_the_locks_with_hashes_and_bytecode(stage, lock):
    assert copied(stage) == [f"requirements/{lock}"]
    (run,) = [rest for word, rest in stages()[stage] if word == "RUN"]
    assert {"--require-hashes", "--compile-bytecode", f"/requirements/{lock}"} <= set(run)


@pytest.mark.parametrize("stage", ["train", "serve", "handoff"])
def test_images__run_as_a_user(stage):
    words = [word for word, _ in stages()[stage]]
    assert stages()[stage][words.index("USER")][1] == ["medtune"]
    assert "COPY" not in words[words.index("USER") :]


def test_handoff__holds_no_more_than_it_needs():
    assert copied("handoff") == ["handoff/", "datasets/__init__.py", "medtune/serving/decode.py"]
    assert stages()["handoff"][-1] == ("ENTRYPOINT", ["[python,", "-m,", "medtune.serving.predict]"])


@pytest.mark.parametrize("path", [".git", ".venv", "artifacts", "data/prepared", "wandb", "tests"])
def test_dockerignore__keeps_bytes_and_history_out(path):
    assert ignored(path)
