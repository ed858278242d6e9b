"""Check the GitHub workflows, issue forms and other repository metadata without GitHub."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[2]
GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
# The only step that needs GitHub.
PUBLISH = 'gh release create "$TAG" dist/* --verify-tag --title "$TAG" --notes-file .cache/release-notes.md'


def load_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in load_yaml(path)["jobs"].items()
    ]


def steps(key: str) -> list[str]:
    return [
        step[key]
        for path in WORKFLOWS
        for job in load_yaml(path)["jobs"].values()
        for step in job["steps"]
        if key in step
    ]


def make_targets(command: str) -> list[str]:
    return [word for word in shlex.split(command)[1:] if "=" not in word]


def test_workflows__are_complete() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "lint", "nightly", "release", "tests", "wheel"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow__has_a_trigger_and_reads_only(path: Path) -> None:
    workflow = load_yaml(path)
    assert workflow["name"] == path.stem
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["on"]) <= {"pull_request", "push", "schedule"}
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "jobs"}


def test_release__is_the_only_writing_workflow_and_requires_a_tag() -> None:
    writing = {
        path.stem
        for path in WORKFLOWS
        for job in load_yaml(path)["jobs"].values()
        if "write" in str(job.get("permissions"))
    }
    assert writing == {"release"}
    assert load_yaml(GITHUB / "workflows" / "release.yml")["on"] == {"push": {"tags": ["v*"]}}


@pytest.mark.parametrize("job", jobs())
def test_job__has_a_time_limit_and_a_fixed_runner(job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] <= 120
    assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])
    assert job["steps"][0]["uses"].startswith("actions/checkout@")
    assert job["steps"][0]["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("job", jobs())
def test_job__uses_a_supported_python(job: dict[str, Any]) -> None:
    (setup,) = (step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@"))
    version = setup["with"]["python-version"]
    versions = job["strategy"]["matrix"]["python"] if "matrix.python" in version else [version]
    supported = SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert all(isinstance(version, str) and f"{version}.0" in supported for version in versions)


def test_tests__run_on_the_oldest_and_the_newest_python() -> None:
    prefix = "Programming Language :: Python :: "
    minors = [int(name.rpartition(".")[2]) for name in PYPROJECT["project"]["classifiers"] if name.startswith(prefix)]
    (job,) = load_yaml(GITHUB / "workflows" / "tests.yml")["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == [f"3.{min(minors)}", f"3.{max(minors)}"]


@pytest.mark.parametrize("command", [*dict.fromkeys(steps("run"))])
def test_run__is_a_make_target_that_exists(command: str) -> None:
    if command == PUBLISH:
        return
    assert shlex.split(command)[0] == "make"
    assert make_targets(command)
    assert set(make_targets(command)) <= TARGETS
    assert "${{" not in command  # an expression would allow shell injection


@pytest.mark.parametrize("action", [*dict.fromkeys(steps("uses"))])
def test_uses__is_an_action_of_github_with_a_fixed_version(action: str) -> None:
    assert re.fullmatch(r"actions/[\w-]+@(v\d+|[0-9a-f]{40})", action)


def test_makefile__declares_and_describes_every_target() -> None:
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].replace("\\\n", " ").split()) == TARGETS
    described = set(re.findall(r'@echo "make ([\w-]+)', MAKEFILE))
    assert TARGETS - described == {"help", "format", "clean"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_form__has_unique_fields_with_labels(form: Path) -> None:
    content = load_yaml(form)
    assert {"name", "description", "body"} <= set(content)
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"checkboxes", "input", "textarea"}
    assert all(field["attributes"]["label"] for field in fields)
    names = [field["id"] for field in fields]
    assert len(names) == len(set(names))


def test_bug_form__requests_the_doctor_output_and_warns_about_patients() -> None:
    text = FORMS[0].read_text(encoding="utf-8")
    assert "`medtune doctor`" in text
    assert "Do not post patient data" in text


def test_dependabot__updates_python_actions_and_images() -> None:
    updates = load_yaml(GITHUB / "dependabot.yml")["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["pip", "github-actions", "docker"]
    assert all(update["directory"] == "/" and update["schedule"] for update in updates)


def test_devcontainer__installs_with_make() -> None:
    container = json.loads((PROJECT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert set(make_targets(container["postCreateCommand"])) <= TARGETS
    version = container["image"].rpartition(":")[2]
    assert f"{version}.0" in SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_pre_commit__hooks_are_local_and_run_the_tools_of_the_project() -> None:
    config = load_yaml(PROJECT / ".pre-commit-config.yaml")
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = {hook["id"]: hook for hook in config["repos"][0]["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"pygrep", "system"}
    tools = [hooks[name]["entry"].split()[0] for name in ("ruff-check", "ruff-format", "mypy")]
    assert tools == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]
    for hook in hooks.values():
        if hook["language"] == "pygrep":
            re.compile(hook["entry"])


def test_citation__has_the_required_keys_and_the_doi_of_the_method() -> None:
    citation = load_yaml(PROJECT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["license"] == PYPROJECT["project"]["license"]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
    source = (PROJECT / "models" / "cdtm.py").read_text(encoding="utf-8")
    assert [reference["doi"] for reference in citation["references"]] == re.findall(r"doi (10\.[^\s,]+)\.", source)
