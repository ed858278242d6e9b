"""Retraining, in order, in one copy of the checkout with a git remote and a DVC remote of its own."""

import csv
import hashlib
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.pipeline.conftest import CLASSES, Checkout, draw_slides, patient_id, write_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("retrain")]

GATE = """
gate: {max_confidence_gap: 1, min_patients_per_class: 2}
handoff: {keep_last: 2}
"""
RETRAIN = ("python", "-m", "medtune", "retrain", "--no-prefect")


def swap_labels(checkout: Checkout, parts: tuple[str, ...]) -> None:
    """Exchanges the labels of the patients whose role is one of `parts`."""
    manifest = csv.DictReader((checkout.folder / "data" / "prepared" / "manifest.csv").open())
    role = {row["path"]: row["split"] for row in manifest}
    table = checkout.folder / "data" / "slides" / "data.csv"
    other = dict(zip(CLASSES, reversed(CLASSES), strict=True))
    rows = list(csv.DictReader(table.open()))
    write_table(
        table,
        [{**row, "label": other[row["label"]] if role.get(row["path"]) in parts else row["label"]} for row in rows],
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
def standing(trained_copy: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A trained checkout with a commit, an upstream and a remote."""
    checkout, place = trained_copy, tmp_path_factory.mktemp("remotes")
    (checkout.folder / "own.yaml").write_text(GATE)
    checkout.run("python", "-m", "medtune", "params", "apply", "own.yaml")
    checkout.run("dvc", "remote", "add", "--force", "--default", "storage", str(place / "storage"))
    for words in (
        ("init", "--quiet", "--bare", str(place / "bare")),
        ("config", "user.email", "test@example.org"),
        ("config", "user.name", "test"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "Start"),
        ("remote", "add", "origin", str(place / "bare")),
        ("push", "--quiet", "--set-upstream", "origin", "HEAD"),
    ):
        checkout.run("git", *words)
    return checkout


def test_first__its_own_checks_passed_it_is_the_champion(standing: Checkout) -> None:
    printed = standing.run(*RETRAIN)
    assert "export: cached" in printed  # as it was trained before the first retraining
    assert "promoted: the first champion" in printed
    bundle = json.loads((current(standing) / "bundle.json").read_text())
    assert bundle["gate"]["decision"] == "promoted"
    assert bundle["gate"]["champion"] is None
    assert standing.run("python", "-m", "medtune", "verify", "published/current").startswith("sound")
    tags = standing.run("git", "tag").split()
    assert tags == [f"model-{current(standing).name}"]
    assert standing.run("git", "ls-remote", "--tags", "origin").count(tags[0]) >= 1
    assert standing.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    assert "up to date" in standing.run("dvc", "status")
    assert "in sync" in standing.run("dvc", "status", "--cloud")
    folds = (standing.folder / "data" / "folds.csv").read_text().splitlines()
    assert len(folds) == 2 + 20
    assert patient_id(0) not in "".join(folds)


def test_again__nothing_changed_ends_early(standing: Checkout) -> None:
    head, before, began = (
        standing.run("git", "rev-parse", "HEAD"),
        digests(standing.folder / "published"),
        time.monotonic(),
    )
    printed = standing.run(*RETRAIN)
    assert "nothing changed in data, params and code" in printed
    assert ": running" not in printed
    assert time.monotonic() - began < 60
    assert standing.run("git", "rev-parse", "HEAD") == head
    assert digests(standing.folder / "published") == before


def test_better__promoted(standing: Checkout) -> None:
    first = current(standing)
    standing.run("python", "-m", "medtune", "params", "set", "schedule=frozen", "frozen.epochs=8", "frozen.lr=1.0e-2")
    assert "params.yaml: changed since the last commit" in fails(standing, 2)
    standing.run("git", "commit", "--all", "--quiet", "--message", "Train longer")
    printed = standing.run(*RETRAIN[:-1])  # through Prefect
    assert "continuing without it" not in printed
    assert "retrain: promoted: balanced_accuracy +" in printed
    gate = json.loads((current(standing) / "bundle.json").read_text())["gate"]
    assert gate["champion"] == first.name
    assert gate["difference"]["lo"] > 0
    assert gate["n_patients"] == 20  # each by a network of either model that has not seen the patient
    assert first.is_dir()
    with sqlite3.connect(standing.folder / ".cache" / "prefect" / "prefect.db") as database:
        since = "where created > (select min(created) from flow_run where name like 'by hand %') order by created"
        runs = database.execute(f"select name, state_name from task_run {since}").fetchall()
        flows = database.execute(f"select name, state_name from flow_run {since.replace('>', '>=')}").fetchall()
        artifacts = {key for (key,) in database.execute("select key from artifact where key is not null")}
    steps = ["pull", "data", "train-0", "frozen fold 0", "frozen fold 1", "frozen fold 2", "evaluate", "export",
             "report", "gate", "record", "publish"]  # fmt: skip
    assert runs == [(step, "Completed") for step in steps]
    assert [state for _, state in flows] == ["Completed", "Completed"]  # retrain, and train inside it
    assert {"gate", "gate-metrics", "test-metrics"} <= artifacts


def fails(checkout: Checkout, code: int) -> str:
    process = checkout.start(RETRAIN)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == code, printed
    return printed


def test_corrupted_labels__refused_and_the_champion_is_untouched(standing: Checkout) -> None:
    before, bundle, head = current(standing), digests(current(standing)), standing.run("git", "rev-parse", "HEAD")
    swap_labels(standing, ("train", "val"))
    printed = standing.run(*RETRAIN)
    assert "data/slides.dvc: local changes recorded" in printed
    assert "retrain: refused: labels of 39 test images changed since the champion was accepted" in printed
    assert current(standing) == before
    assert digests(before) == bundle
    assert standing.run("git", "rev-parse", "HEAD") == head
    assert history(standing)[-1]["decision"] == "refused"
    assert "this model was refused on" in standing.run(*RETRAIN)


def test_test_labels_changed__a_person_must_decide(standing: Checkout) -> None:
    old = (standing.folder / "data" / "folds.csv").read_text().splitlines()[2:]
    swap_labels(standing, ("train", "val", "test"))  # train and val of fold 1 are right again, test is not
    draw_slides(standing.folder / "data" / "slides", range(20, 26))
    process = standing.start(RETRAIN)  # killed while it trains: the champion stays, the next run continues
    assert process.stdout is not None
    assert any(line.startswith("frozen fold 0: running") for line in process.stdout)
    champion = digests(current(standing))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert digests(current(standing)) == champion
    printed = standing.run(*RETRAIN)
    assert "refused: labels of 21 test images changed since the champion was accepted" in printed
    assert digests(current(standing)) == champion
    assert (standing.folder / "data" / "folds.csv").read_text().splitlines()[2:] == old


def test_new_images__picked_up_and_nobody_changes_folds(standing: Checkout) -> None:
    old = (standing.folder / "data" / "folds.csv").read_text().splitlines()[2:]
    printed = standing.run(*RETRAIN, "--accept", "as good, and it knows more patients")
    assert "retrain: promoted: accepted by hand: as good, and it knows more patients" in printed
    assert ": running" not in printed
    manifest = list(csv.DictReader((standing.folder / "data" / "prepared" / "manifest.csv").open()))
    assert len(manifest) == 26 * 3
    new = (standing.folder / "data" / "folds.csv").read_text().splitlines()[2:]
    assert set(old) < set(new)
    assert len(new) == 26
    assert len(list((standing.folder / "published" / "bundles").iterdir())) == 2  # handoff.keep_last


def test_rollback__the_one_before_is_current_and_stays(standing: Checkout) -> None:
    gate = json.loads((current(standing) / "bundle.json").read_text())["gate"]
    assert f"current: {gate['champion']}" in standing.run(
        "python", "-m", "medtune", "rollback", "published", "--because", "x"
    )
    assert current(standing).name == gate["champion"]
    assert history(standing)[-1]["decision"] == "rolled back"
    assert "nothing changed" in standing.run(*RETRAIN)
    assert current(standing).name == gate["champion"]


def test_clone__finds_everything_and_trains_nothing(standing: Checkout, tmp_path: Path) -> None:
    origin = standing.run("git", "config", "remote.origin.url").strip()
    standing.run("git", "clone", "--quiet", origin, str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone")
    clone.run("dvc", "pull")
    printed = clone.run("dvc", "repro")
    assert "Data and pipelines are up to date" in printed
    assert ": running" not in printed
    assert "up to date" in clone.run("dvc", "status")
