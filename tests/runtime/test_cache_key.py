import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from medtune.config import load
from medtune.config.project import PACKAGE
from medtune.runtime import source_hash
from medtune.runtime.cache_key import MODULES, STAGE_SECTIONS, TASK_PARTS, stage_key
from medtune.runtime.source_hash import source_fingerprint
from tests.stages.volume_folder import PHANTOM, volume_params

TEMPLATES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.j2"))


@pytest.mark.parametrize(("stage", "module"), MODULES.items())
def test_modules__stage_code_is_in_its_key(stage: str, module: str) -> None:
    closure = source_fingerprint(module)
    assert f"{module.replace('.', '/')}.py" in closure
    assert len(closure) > 10, stage


def test_source_fingerprint__rejects_a_missing_module() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no source file for medtune\.stages\.nothing"):
        source_fingerprint("medtune.stages.data", "medtune.stages.nothing")


def test_dvc__runs_a_stage_again_after_a_change_of_its_sections() -> None:
    stages = load.read(PACKAGE / "template" / "dvc.yaml")["stages"]
    sections = {section for stage, names in STAGE_SECTIONS.items() if stage != "trial" for section in names}
    assert sections <= set(stages["train"]["params"])
    assert {"data", "task"} <= set(stages["data"]["params"])


def templates_of(stage: str, kind: str) -> set[str]:
    parts = [f"medtune.tasks.{kind}.{part}" for part in TASK_PARTS[stage]]
    return {name.removeprefix("medtune/") for name in source_fingerprint(MODULES[stage], *parts) if "j2" in name}


def test_templates__are_in_the_keys_of_the_stages_that_render_them() -> None:
    report = {name for name in TEMPLATES if name.startswith("evaluation/")}
    classification = {name for name in TEMPLATES if name.startswith("tasks/classification/")}
    multilabel = {name for name in TEMPLATES if name.startswith("tasks/multilabel/")}
    segmentation = {name for name in TEMPLATES if name.startswith("tasks/segmentation/")}
    assert all((report, classification, multilabel, segmentation))
    assert templates_of("evaluate", "classification") == report | classification
    assert templates_of("evaluate", "multilabel") == report | multilabel
    assert segmentation < templates_of("evaluate", "segmentation") <= report | segmentation
    assert templates_of("export", "classification") == report | classification | {"export/model_card.md.j2"}
    assert templates_of("finetune", "classification") == set()
    # The benchmark report is in no key, because it is rendered from finished trials.
    tasks = classification | multilabel | segmentation
    assert {*report, *tasks, "export/model_card.md.j2", "benchmark/report/page.html.j2"} == {*TEMPLATES}


def clear_hashes() -> None:
    for cached in (source_hash._find_file, source_hash._hash_module, source_hash._hash_template):
        cached.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a copy of the package whose files are hashed."""
    copied = shutil.copytree(PACKAGE, tmp_path / "medtune", ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    monkeypatch.setattr(source_hash, "PACKAGE", copied)
    yield copied
    clear_hashes()


def keys() -> dict[str, str]:
    clear_hashes()
    return {stage: stage_key(stage, load.load(), {}, "cpu") for stage in MODULES}


def test_stage_key__depends_on_rendered_templates(package: Path) -> None:
    changed_stages = {
        "tasks/classification/report.html.j2": {"evaluate", "export", "trial"},
        "evaluation/metric_table.html.j2": {"evaluate", "export", "trial"},
        "export/model_card.md.j2": {"export"},
        "tasks/multilabel/report.html.j2": set(),
    }
    before = keys()
    assert keys() == before
    for template, changed in changed_stages.items():
        with (package / template).open("a", encoding="utf-8") as stream:
            stream.write("<p>edited</p>\n")
        after = keys()
        assert {stage for stage in MODULES if after[stage] != before[stage]} == changed, template
        before = after


@pytest.mark.parametrize(("stage", "changes"), [("frozen", False), ("finetune", False), ("evaluate", True)])
def test_stage_key__params_of_metrics_change_only_the_evaluation(stage: str, changes: bool) -> None:
    keys = {stage_key(stage, volume_params(PHANTOM, task={"kind": "segmentation", **task}), {}, "cpu")
            for task in ({}, {"tolerance_mm": 3.0, "largest_component": "all"})}  # fmt: skip
    assert (len(keys) == 2) is changes
    other = volume_params(PHANTOM, task={"kind": "segmentation", "overlap": 0.25})
    assert stage_key(stage, other, {}, "cpu") not in keys
