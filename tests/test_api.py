"""The Python API: lazy, typed, and the results of a whole run."""

import ast
import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

import medtune
from medtune.config.project import PROJECT

SMALL = [
    "schedule=staged",
    "data.image_size=32", "data.patients=20", "data.images_per_patient=2", "data.labels=binary", "data.split.folds=3",
    "data.split.test_fold=1",
    "model.weights=none", "model.backbone_args={img_size: 32, depth: 2}", "model.head.kind=linear",
    "frozen.epochs=1", "frozen.lr=1e-3", "frozen.feature_views=1", "finetune.epochs=1", "finetune.lr=2e-4",
    "export.precisions=[fp32]", "tracking.mode=disabled",
]  # fmt: skip


def imported_after(code: str) -> set[str]:
    """Top-level packages outside the standard library that a fresh process has imported after `code`."""
    show = "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules} - before)))"
    ask = f"import json, sys\nbefore = {{name.partition('.')[0] for name in sys.modules}}\n{code}\n{show}"
    done = subprocess.run([sys.executable, "-c", ask], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout)) - sys.stdlib_module_names


def test_import__loads_nothing_but_the_package_itself() -> None:
    assert imported_after("import medtune; dir(medtune); medtune.__all__") == {"medtune"}


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (("load_params", "train", "export"), {"torch", "timm", "prefect", "onnxruntime"}),
        (("Bundle",), {"torch", "timm", "prefect", "pydantic"}),
        (("attach_cdtm",), {"prefect", "onnxruntime"}),
    ],
)
def test_names__import_no_more_than_they_need(names: tuple[str, ...], absent: set[str]) -> None:
    assert not imported_after(f"import medtune; {'; '.join(f'medtune.{name}' for name in names)}") & absent


def test_names__all_resolve_and_are_declared_for_type_checkers() -> None:
    tree = ast.parse((PROJECT / "medtune" / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    declared = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == {name: f"{medtune._MODULES[name]}.{name}" for name in medtune.__all__}
    for name in medtune.__all__:
        assert getattr(medtune, name).__doc__
        assert name in dir(medtune)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        medtune.trian  # noqa: B018


@pytest.mark.parametrize("first", ["medtune.export", "import medtune.export.parity", "from medtune.export import fp16"])
def test_export__is_a_function_and_a_package_in_any_order(first: str) -> None:
    code = f"import medtune\n{first}\nimport medtune.export.parity as parity\nassert callable(medtune.export), 1\n"
    check = "try:\n    medtune.export()\nexcept TypeError as error:\n    assert 'params' in str(error), error\n"
    subprocess.run([sys.executable, "-c", f"{code}assert parity.__name__\n{check}"], cwd=PROJECT, check=True)


@pytest.mark.slow
def test_run__prepares_trains_evaluates_exports_and_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    params = medtune.load_params(sets=SMALL)
    with pytest.raises(medtune.InputError, match="run `medtune data`"):
        medtune.train(params, tmp_path)

    data = medtune.prepare(params, tmp_path)
    assert (data.images, data.patients, data.classes) == (40, 20, tuple(data.counts))
    assert repr(data).startswith("PreparedData(40 images of 20 patients: ")

    result = medtune.train(params, tmp_path)
    assert result.ran == (
        *(f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")),
        "evaluate",
        "export",
    )
    assert "balanced_accuracy" in repr(result)
    assert "8 of 8 steps ran" in repr(result)
    assert medtune.train(params, tmp_path).cached == result.ran

    found = medtune.evaluate(params, tmp_path)
    assert found == result.evaluation
    assert found.report.is_file()
    assert json.loads((found.folder / "metrics.json").read_text())["test"]["auroc"]["value"] == result.metrics["auroc"]
    exported = medtune.export(params, tmp_path)
    assert exported == result.export
    assert exported.precisions == ("fp32",)
    assert exported.model_card.is_file()

    assert len(list(csv.DictReader(found.predictions.open()))) == 14
    samples = sorted((data.folder / "samples").rglob("*.png"))
    assert samples
    predictions = medtune.Bundle.load(result.bundle).predict(samples)
    assert {prediction.label for prediction in predictions} <= set(data.classes)
    assert len(predictions) == len(samples)

    other = medtune.load_params(sets=[*SMALL, "frozen.epochs=2"])
    with pytest.raises(medtune.InputError, match="Run `medtune stage frozen` with the same params first"):
        medtune.evaluate(other, tmp_path)
