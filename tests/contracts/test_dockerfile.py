"""Check the Dockerfile without a Docker engine: parse it, and replay its build and install commands."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from medtune.cli.main import COMMANDS
from tests.requirements.conftest import run_uv

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = ["train", "serve-gpu", "serve", "predict"]
INSTALL = ["uv", "pip", "install"]


def instructions() -> list[tuple[str, list[str]]]:
    text = re.sub(r"\\\n", " ", (PROJECT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    return [(word, shlex.split(rest)) for word, _, rest in (ln.partition(" ") for ln in lines if ln and ln[0] != "#")]


def stages() -> dict[str, list[tuple[str, list[str]]]]:
    instructions_by_stage: dict[str, list[tuple[str, list[str]]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = rest[-1]
            instructions_by_stage[name] = []
        instructions_by_stage[name].append((word, rest))
    return instructions_by_stage


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
def test_copy__sources_exist_and_are_sent_to_the_build(stage: str) -> None:
    for source in copied(stage):
        assert (PROJECT / source).exists(), source
        assert not ignored(source.rstrip("/")), source


def test_stages__build_on_earlier_stages() -> None:
    known = {"python:3.13-slim"}
    for name, parts in stages().items():
        for word, rest in parts:
            sources = [rest[0]] if word == "FROM" else [p[7:] for p in rest if p.startswith("--from=")]
            assert set(sources) <= known, (name, sources)
        known.add(name)
    assert list(stages())[-1] == "predict"


@pytest.mark.parametrize("image", IMAGES)
def test_environments__come_from_the_locks_and_the_wheel(image: str) -> None:
    assert copied(f"{image}-env") == [f"requirements/{image}.lock"]
    lock, wheel = (rest for word, rest in stages()[f"{image}-env"] if word == "RUN")
    assert lock == [*INSTALL, "--require-hashes", "--compile-bytecode", "-r", f"/requirements/{image}.lock"]
    assert wheel == [*INSTALL, "--no-deps", "--compile-bytecode", "/wheel/*.whl"]
    assert ("COPY", [f"--from={image}-env", "/opt/venv", "/opt/venv"]) in stages()[image]


@pytest.mark.parametrize("image", IMAGES)
def test_images__do_not_run_as_root(image: str) -> None:
    keywords = [word for word, _ in stages()[image]]
    assert stages()[image][keywords.index("USER")][1] == ["medtune"]
    assert "COPY" not in keywords[keywords.index("USER") :]


@pytest.mark.parametrize("image", ["predict", "serve", "serve-gpu"])
def test_serving_images__contain_only_the_environment(image: str) -> None:
    assert copied(image) == []


def test_entry_points__are_commands_of_medtune() -> None:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    started = [json.loads(command) for command in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)]
    lines = [" ".join(command) for command in started if command != ["/bundle"]]
    assert lines == [
        "sh -c medtune data && medtune train",
        "medtune serve --host 0.0.0.0 --provider cuda",
        "medtune serve --host 0.0.0.0",
        "medtune predict",
    ]
    assert set(re.findall(r"medtune (\w+)", " ".join(lines))) <= set(COMMANDS)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built like in the stage `wheel` from a copy of its files."""
    context, out = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("wheel")
    for source in copied("wheel"):
        path = PROJECT / source
        if path.is_dir():
            shutil.copytree(path, context / source, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif not source.startswith("requirements/"):
            shutil.copy(path, context)
    (build,) = (rest for word, rest in stages()["wheel"] if word == "RUN")
    paths = {
        "/requirements/dev.lock": str(PROJECT / "requirements" / "dev.lock"),
        "/wheel": str(out),
        ".": str(context),
    }
    run_uv(*(paths.get(word, word) for word in build[1:]))
    (file,) = out.glob("*.whl")
    return file


@pytest.mark.slow
def test_wheel__has_every_file_of_the_package(wheel: Path) -> None:
    git = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    if git.returncode != 0:
        pytest.skip("not a git checkout")
    files = git.stdout.splitlines()
    links = [name for name in files if name.startswith("medtune/") and (PROJECT / name).is_dir()]
    expected = {name for name in files if name.startswith("medtune/") and name not in links}
    for link in links:
        target = (PROJECT / link).resolve().relative_to(PROJECT).as_posix()
        expected |= {link + name.removeprefix(target) for name in files if name.startswith(f"{target}/")}
    assert len(links) >= 3
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("image", "module"), [("predict", "medtune.serving.predict"), ("serve", "medtune.serving.http")]
)
def test_environments__can_be_built_without_docker(image: str, module: str, wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run_uv("venv", "--quiet", "--python", sys.executable, venv)
    paths = {f"/requirements/{image}.lock": str(PROJECT / "requirements" / f"{image}.lock"), "/wheel/*.whl": str(wheel)}
    for word, rest in stages()[f"{image}-env"]:
        if word == "RUN":
            install = [paths.get(argument, argument) for argument in rest[1:] if argument != "--compile-bytecode"]
            run_uv(*install, "--python", str(venv / "bin" / "python"))
    code = (
        f"import sys, onnxruntime, {module} as module; print(module.__file__, *onnxruntime.get_available_providers());"
        "heavy = {'torch', 'timm', 'prefect', 'dvc', 'onnx'} & set(sys.modules); sys.exit(f'{heavy}' if heavy else 0)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    process = subprocess.run(
        [venv / "bin" / "python", "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(str(venv))
    assert "CPUExecutionProvider" in process.stdout
    help_page = subprocess.run(
        [venv / "bin" / "medtune", image, "--help"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert help_page.returncode == 0, help_page.stderr
    assert "bundle" in help_page.stdout.lower()


@pytest.mark.parametrize("path", [".git", ".venv", "artifacts", "data/prepared", "wandb", "tests"])
def test_dockerignore__excludes_history_and_data(path: str) -> None:
    assert ignored(path)
