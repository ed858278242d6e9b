"""`medtune params` and `medtune recipes`."""

import json
from pathlib import Path

import pytest

from medtune.cli import recipe_files
from medtune.cli.explain import fields
from medtune.cli.main import call
from medtune.config import load, registry
from medtune.config.project import PROJECT


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(load.DEFAULT_PARAMS.read_text())
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert call(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "frozen.epoch=3"], "did you mean 'epochs'?"),
        (["--set", "frozen.epochs=0"], "frozen.epochs=0"),
        (["--set", "data.source=folder", "--set", "data.root=/nowhere"], "data.root=/nowhere"),
        (["breakhis-binary-vitt"], "did you mean 'breakhis-binary-vit'?"),
        (["default", "--set", "model.head.kind=cdmt"], "did you mean 'cdtm'?"),
    ],
    ids=["key", "value", "root", "recipe", "recipe-and-set"],
)
def test_check__recipes_and_overrides(arguments, message, capsys):
    assert call(["params", "check", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_check__valid_and_as_json(capsys):
    assert run(capsys, "params", "check", "--set", "frozen.epochs=3") == "params: valid\n"
    assert call(["params", "check", "--set", "frozen.epochs=0", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is False
    assert answer["error"].startswith("frozen.epochs=0")


@pytest.mark.parametrize("name", ["mode-linear", "mode-linear.yaml", "recipes/mode-linear.yaml"])
def test_apply__accepts_a_recipe_by_name(name, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(["params", "apply", name, "--set", "seed=9", "--to", str(target)]) == 0
    tree = load.read(target)
    assert (tree["schedule"], tree["model"]["head"]["kind"], tree["seed"]) == ("frozen", "linear", 9)
    assert "# any timm model" in target.read_text()


def test_set__new_backbone_drops_arguments_in_the_file(target, capsys):
    assert call(["params", "set", "model.backbone=mobilenetv2_100", "--to", str(target)]) == 0
    model = load.read(target)["model"]
    assert model["backbone"] == "mobilenetv2_100"
    assert not {"backbone_args", "weights"} & model.keys()
    assert "# null: mean and std of the backbone" in target.read_text()
    removed = capsys.readouterr().out.splitlines()[1]
    assert removed.startswith("removed: model.weights, model.backbone_args.img_size"), removed


def test_show__a_section_a_value_and_json(capsys):
    assert "kind: logistic" in run(capsys, "params", "show", "model.head")
    assert run(capsys, "params", "show", "frozen.patience") == "null\n"
    assert json.loads(run(capsys, "params", "show", "model.head", "--set", "model.head.kind=linear", "--json")) == {
        "kind": "linear"
    }
    assert call(["params", "show", "model.haed"]) == 2
    assert "did you mean 'head'?" in capsys.readouterr().err


def test_explain__shows_type_choices_default_and_meaning(capsys):
    text = run(capsys, "params", "explain", "model.head")
    assert f"one of {', '.join(registry.plugin_names('medtune.models.heads'))}" in text
    (field,) = json.loads(run(capsys, "params", "explain", "frozen.monitor", "--json"))
    assert "balanced_accuracy" in field["choices"]
    assert field["default"] == "auroc"
    assert field["description"]
    (field,) = json.loads(run(capsys, "params", "explain", "evaluate.confidence", "--json"))
    assert field["type"] == "number > 0.5 and < 1"


def test_explain__covers_every_key_of_every_plugin():
    for section, key, package in (
        ("data", "source", "medtune.data.sources"),
        ("model.head", "kind", "medtune.models.heads"),
        ("model.peft", "method", "medtune.models.peft"),
    ):
        for name in registry.plugin_names(package):
            plugin = registry.load_plugin(package, name, f"{section}.{key}")
            options = plugin.Params()
            volumes = getattr(options, "has_volumes", False) or getattr(options, "reads_volumes", False)
            recipe = PROJECT / "recipes" / "segmentation.yaml" if volumes else None
            params = load.load(
                recipe,
                [
                    f"{section}.{key}={name}",
                    *(["model.peft.method=none"] if section != "model.peft" else []),
                    *(["data.source=slides", "schedule=frozen"] if name == "attention_mil" else []),
                ],
            )
            check_explained(params, section, key, name)


def check_explained(params, section, key, name):
    explained = fields(params, section)
    assert name in next(field for field in explained if field.key == f"{section}.{key}").choices
    assert all(field.type or field.choices for field in explained)


def test_recipes__lists_every_file_with_a_summary(capsys):
    listed = json.loads(run(capsys, "recipes", "--json"))
    assert {entry["name"] for entry in listed} == set(recipe_files.known())
    assert len(listed) > 20
    assert all(len(entry["summary"]) > 20 for entry in listed)
    assert run(capsys, "recipes", "show", "mode-linear") == recipe_files.find("mode-linear").read_text()
