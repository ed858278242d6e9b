import csv
import json
from dataclasses import replace

import pytest

from medtune.cli.main import call
from medtune.config.errors import InputError
from medtune.data.manifest import load_prepared
from medtune.runtime.cache_key import stage_key
from medtune.stages import evaluate
from medtune.stages.preflight import run_preflight
from medtune.stages.step_keys import evaluate_key, frozen_key

# Nine patients with five images each, three patients per fold.
SEX = ["F" if k // 5 % 2 else "M" for k in range(45)]
SITE = ["north" if k // 5 < 7 else "" for k in range(45)]  # the last two patients: not recorded
SCANNER = [f"S{k % 2}" for k in range(45)]  # both scanners have images of every patient
COLUMNS = {"sex": SEX, "site": SITE, "scanner": SCANNER, "age": [str(20 + k) for k in range(45)]}


def with_options(world, **changes):
    return world.params.model_copy(update={"evaluate": world.params.evaluate.model_copy(update=changes)})


def read(artifact, name="metrics.json"):
    return json.loads((artifact.folder / name).read_text())


def test_run__reports_subgroups_of_all_folds(make_world, capsys):
    world = make_world(columns=COLUMNS)
    without_subgroups = evaluate.run(world.params, world.paths)
    assert "subgroups" not in read(without_subgroups)
    assert not (without_subgroups.folder / "subgroups.csv").exists()
    before = {name: entry for name, entry in read(without_subgroups).items() if name != "subgroups"}
    capsys.readouterr()
    params = with_options(world, by=["sex", "site", "scanner", "age"], bins={"age": [40]})
    artifact = evaluate.run(params, world.paths)
    metrics = read(artifact)
    assert {name: entry for name, entry in metrics.items() if name != "subgroups"} == before
    sex, site, scanner, age = metrics["subgroups"]

    assert [(entry["value"], entry["n_images"], entry["n_patients"]) for entry in sex["subgroups"]] == [
        ("F", 20, 4), ("M", 25, 5),
    ]  # fmt: skip
    assert [(entry["value"], entry["n_images"]) for entry in site["subgroups"]] == [("north", 35), ("not recorded", 10)]
    assert [(entry["value"], entry["n_images"]) for entry in age["subgroups"]] == [("below 40", 20), ("40 or more", 25)]
    assert [entry["n_patients"] for entry in scanner["subgroups"]] == [9, 9]
    assert sum(scanner["subgroups"][0]["patients_by_class"].values()) == 9
    female = sex["subgroups"][0]["metrics"]["accuracy"]
    assert (female["lo"], female["reason"]) == (None, "4 patients, but an interval needs 5")
    predictions = list(csv.DictReader((artifact.folder / "predictions.csv").open(newline="")))
    by_path = {f"img/{k}.png": value for k, value in enumerate(SCANNER)}
    for entry in scanner["subgroups"]:  # predictions.csv and the column are sufficient to compute the value
        selected_rows = [row for row in predictions if by_path[row["path"]] == entry["value"]]
        accuracy = sum(row["label"] == row["prediction"] for row in selected_rows) / len(selected_rows)
        assert entry["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
        assert entry["metrics"]["accuracy"]["lo"] is not None
    gap = next(gap for gap in scanner["largest_gaps"] if gap["metric"] == "accuracy")
    assert (gap["first"], gap["second"]) == ("S0", "S1")
    assert gap["lo"] <= gap["value"] <= gap["hi"]

    rows = list(csv.DictReader((artifact.folder / "subgroups.csv").open(newline="")))
    assert {row["column"] for row in rows} == set(COLUMNS)
    selected_rows = [
        row for row in rows if (row["column"], row["metric"], row["against"]) == ("scanner", "accuracy", "")
    ]
    assert [float(row["value"]) for row in selected_rows] == [
        pytest.approx(entry["metrics"]["accuracy"]["value"]) for entry in scanner["subgroups"]
    ]
    page = (artifact.folder / "report.html").read_text()
    assert "<h2>Subgroups</h2>" in page
    assert "north" in page
    assert page.count("data:image/png;base64,") == len(list((artifact.folder / "images").iterdir())) == 10
    printed = capsys.readouterr().out
    assert "evaluate: by scanner" in printed
    assert "evaluate: not recorded " in printed
    assert "largest gap in AUROC: S0 - S1:" in printed


def test_run__single_fold_reports_subgroups_without_images(make_world):
    columns = {"site": ["A" if k // 5 % 3 == 1 else "B" for k in range(45)]}
    world = make_world(test_fold=1, columns=columns)
    (site,) = read(evaluate.run(with_options(world, by=["site"]), world.paths))["subgroups"]
    assert [(entry["value"], entry["n_images"], entry["notes"]) for entry in site["subgroups"]] == [
        ("A", 15, []), ("B", 0, ["no test image"]),
    ]  # fmt: skip
    assert site["gaps"] == []


def test_keys__subgroups_change_the_evaluation_only(make_world):
    world = make_world(test_fold=1, columns=COLUMNS)
    prepared = load_prepared(world.paths.prepared)
    params = with_options(world, by=["sex"])
    assert evaluate_key(params, prepared, world.trained) != evaluate_key(world.params, prepared, world.trained)
    assert frozen_key(params, prepared, 1) == frozen_key(world.params, prepared, 1)
    for stage in ("frozen", "finetune", "trial"):
        keys = {stage_key(stage, variant, {}, "cpu") for variant in (world.params, params)}
        assert len(keys) == 1, stage
    changed = replace(prepared, metadata_cells={**prepared.metadata_cells, "sex": ("F",) * 45})
    assert evaluate_key(params, changed, world.trained) != evaluate_key(params, prepared, world.trained)
    assert evaluate_key(world.params, changed, world.trained) == evaluate_key(world.params, prepared, world.trained)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": ["sexe"]}, r"evaluate\.by=sexe: no such column \(did you mean 'sex'\?\)"),
        ({"by": ["age"]}, r"evaluate\.by=age: the column has 45 different values, at most 12"),
    ],
)
def test_preflight__rejects_invalid_subgroups(make_world, changes, message):
    world = make_world(test_fold=1, columns=COLUMNS)
    with pytest.raises(InputError, match=message):
        run_preflight(with_options(world, **changes), world.paths)


def test_data__unknown_column_is_rejected_before_decoding(tmp_path, capsys):
    for k in range(4):
        (tmp_path / f"{k}.png").write_bytes(b"no image")
    (tmp_path / "t.csv").write_text(
        "path,label,group,sex\n" + "".join(f"{k}.png,{'ab'[k % 2]},P{k},F\n" for k in range(4))
    )
    arguments = ["--set", "data.source=folder", "--set", f"data.root={tmp_path}", "--set", "data.csv=t.csv"]
    arguments += [
        "--set",
        "data.image_size=32",
        "--set",
        "evaluate.by=[gender]",
        "--set",
        "data.positive=b",
        "--out",
        str(tmp_path / "out"),
    ]
    assert call(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert error == "error: evaluate.by=gender: no such column. Choose one of: sex.\n"
