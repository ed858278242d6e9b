"""Tests of retraining, in this order, in a copy of the checkout with a git remote and a DVC remote."""

import csv
import hashlib
import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.pipeline.conftest import CLASSES, Checkout, draw_slides, patient_id, write_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("retrain")]

GATE = """
gate: {max_confidence_gap: 1, min_patients_per_class: 2}
handoff: {keep_last: 2}
"""
RETRAIN = ("python", "-m", "medtune", "retrain", "--no-prefect")


def swap_labels(checkout: Checkout, splits: tuple[str, ...]) -> None:
    """Exchange the labels of the patients whose split is in `splits`."""
    manifest = csv.DictReader((checkout.folder / "data" / "prepared" / "manifest.csv").open())
    split = {row["path"]: row["split"] for row in manifest}
    table = checkout.folder / "data" / "slides" / "data.csv"
    swapped = dict(zip(CLASSES, reversed(CLASSES), strict=True))
    rows = list(csv.DictReader(table.open()))
    write_table(
        table,
        [{**row, "label": swapped[row["label"]] if split.get(row["path"]) in splits else row["label"]} for row in rows],
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def current(checkout: Checkout) -> Path:
    return (checkout.folder / "published" / "current").resolve()


def history(checkout: Checkout) -> list[dict]:
    return [json.loads(line) for line in (checkout.folder / "published" / "history.jsonl").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def project(trained_copy: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a trained checkout with a commit, a git upstream and a DVC remote."""
    checkout, remotes = trained_copy, tmp_path_factory.mktemp("remotes")
    (checkout.folder / "gate.yaml").write_text(GATE)
    checkout.run("python", "-m", "medtune", "params", "apply", "gate.yaml")
    checkout.run("dvc", "remote", "add", "--force", "--default", "storage", str(remotes / "storage"))
    for arguments in (
        ("init", "--quiet", "--bare", str(remotes / "bare")),
        ("config", "user.email", "test@example.org"),
        ("config", "user.name", "test"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "Start"),
        ("remote", "add", "origin", str(remotes / "bare")),
        ("push", "--quiet", "--set-upstream", "origin", "HEAD"),
    ):
        checkout.run("git", *arguments)
    return checkout


def test_first_retraining__model_that_passes_the_checks_is_the_champion(project: Checkout) -> None:
    printed = project.run(*RETRAIN)
    assert "export: cached" in printed  # the model was trained before the first retraining
    assert "promoted: no champion yet" in printed
    bundle = json.loads((current(project) / "bundle.json").read_text())
    assert bundle["gate"]["decision"] == "promoted"
    assert bundle["gate"]["champion"] is None
    assert project.run("python", "-m", "medtune", "verify", "published/current").startswith("sound")
    tags = project.run("git", "tag").split()
    assert tags == [f"model-{current(project).name}"]
    assert project.run("git", "ls-remote", "--tags", "origin").count(tags[0]) >= 1
    assert project.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    assert "up to date" in project.run("dvc", "status")
    assert "in sync" in project.run("dvc", "status", "--cloud")
    folds = (project.folder / "data" / "folds.csv").read_text().splitlines()
    assert len(folds) == 2 + 20
    assert patient_id(0) not in "".join(folds)


def test_unchanged_data__end_the_run_early(project: Checkout) -> None:
    head, before = project.run("git", "rev-parse", "HEAD"), digests(project.folder / "published")
    printed = project.run(*RETRAIN)
    assert "nothing changed in data, params and code" in printed
    assert ": running" not in printed
    assert project.run("git", "rev-parse", "HEAD") == head
    assert digests(project.folder / "published") == before


@pytest.mark.nightly
def test_better_model__is_promoted(project: Checkout) -> None:
    first = current(project)
    project.run("python", "-m", "medtune", "params", "set", "schedule=frozen", "frozen.epochs=8", "frozen.lr=1.0e-2")
    assert "params.yaml: changed since the last commit" in run_failing(project, 2)
    project.run("git", "commit", "--all", "--quiet", "--message", "Train longer")
    printed = project.run(*RETRAIN[:-1])  # through Prefect
    assert "continuing without it" not in printed
    assert "retrain: promoted: the improvement of balanced_accuracy over the champion is +" in printed
    gate = json.loads((current(project) / "bundle.json").read_text())["gate"]
    assert gate["champion"] == first.name
    assert gate["difference"]["lo"] > 0
    assert gate["n_patients"] == 20  # networks of both models that have not seen the patient
    assert first.is_dir()
    with sqlite3.connect(project.folder / ".cache" / "prefect" / "prefect.db") as database:
        filters = "where created > (select min(created) from flow_run where name like 'by hand %') order by created"
        runs = database.execute(f"select name, state_name from task_run {filters}").fetchall()
        flows = database.execute(f"select name, state_name from flow_run {filters.replace('>', '>=')}").fetchall()
        artifacts = {key for (key,) in database.execute("select key from artifact where key is not null")}
    steps = ["pull", "data", "train-0", "frozen fold 0", "frozen fold 1", "frozen fold 2", "evaluate", "export",
             "report", "gate", "record", "publish"]  # fmt: skip
    assert runs == [(step, "Completed") for step in steps]
    assert [state for _, state in flows] == ["Completed", "Completed"]  # retrain, and train inside it
    assert {"gate", "gate-metrics", "test-metrics"} <= artifacts


def run_failing(checkout: Checkout, code: int) -> str:
    process = checkout.start(RETRAIN)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == code, printed
    return printed


@pytest.mark.nightly
def test_changed_labels__model_is_refused_and_the_champion_is_unchanged(project: Checkout) -> None:
    before, champion, head = current(project), digests(current(project)), project.run("git", "rev-parse", "HEAD")
    folds_before = (project.folder / "data" / "folds.csv").read_text().splitlines()[2:]
    swap_labels(project, ("test",))
    draw_slides(project.folder / "data" / "slides", range(20, 26))
    process = project.start(RETRAIN)  # a killed run does not change the champion
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith("frozen fold 0: running"):
            break
    else:
        pytest.fail(printed)
    assert "data/slides.dvc: local changes recorded" in printed
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert current(project) == before
    assert digests(before) == champion

    printed = project.run(*RETRAIN)
    assert "retrain: refused: labels of 21 test images changed since the champion was accepted" in printed
    assert current(project) == before
    assert digests(before) == champion
    assert project.run("git", "rev-parse", "HEAD") == head
    assert history(project)[-1]["decision"] == "refused"
    assert (project.folder / "data" / "folds.csv").read_text().splitlines()[2:] == folds_before
    assert "this model was refused on" in project.run(*RETRAIN)


@pytest.mark.nightly
def test_new_images__are_used_and_patients_stay_in_their_folds(project: Checkout) -> None:
    folds_before = (project.folder / "data" / "folds.csv").read_text().splitlines()[2:]
    printed = project.run(*RETRAIN, "--accept", "as good, and it knows more patients")
    assert "retrain: promoted: accepted by hand: as good, and it knows more patients" in printed
    assert ": running" not in printed
    manifest = list(csv.DictReader((project.folder / "data" / "prepared" / "manifest.csv").open()))
    assert len(manifest) == 26 * 3
    folds_after = (project.folder / "data" / "folds.csv").read_text().splitlines()[2:]
    assert set(folds_before) < set(folds_after)
    assert len(folds_after) == 26
    assert len(list((project.folder / "published" / "bundles").iterdir())) == 2  # handoff.keep_last


@pytest.mark.nightly
def test_rollback__previous_champion_is_current_and_stays(project: Checkout) -> None:
    gate = json.loads((current(project) / "bundle.json").read_text())["gate"]
    assert f"current: {gate['champion']}" in project.run(
        "python", "-m", "medtune", "rollback", "published", "--because", "x"
    )
    assert current(project).name == gate["champion"]
    assert history(project)[-1]["decision"] == "rolled back"
    assert "nothing changed" in project.run(*RETRAIN)
    assert current(project).name == gate["champion"]


def test_clone__pulls_all_results_and_trains_nothing(project: Checkout, tmp_path: Path) -> None:
    origin = project.run("git", "config", "remote.origin.url").strip()
    project.run("git", "clone", "--quiet", origin, str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone")
    clone.run("dvc", "pull")
    printed = clone.run("dvc", "repro")
    assert "Data and pipelines are up to date" in printed
    assert ": running" not in printed
    assert "up to date" in clone.run("dvc", "status")
