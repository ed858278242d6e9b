"""Loading and validation of params.yaml, overlays and --set."""

import pytest

from medtune.cli.main import call
from medtune.config import load
from medtune.config.errors import InputError


def test_load__returns_the_project_params():
    params = load.load()
    assert params.data.source == "synthetic"
    assert params.section("model")["head"]["kind"] == "logistic"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("frozen.lrr=3", ["frozen.lrr", "unknown key", "'lr'"]),
        ("data.split.test_fold=9", ["data.split.test_fold=9", "0 to 4"]),
        ("data.split={test_fold: 1, val_fold: 1}", ["data.split.val_fold=1: it is also the test fold"]),
        ("model.head.kind=cdtmm", ["model.head.kind=cdtmm", "'cdtm'", "transformer"]),
        ("model.head={kind: cdtm, centers: 0}", ["model.head.centers=0: expected an integer of at least 1"]),
        ("model.head={kind: cdtm, skp: 1}", ["model.head.skp", "'skip'"]),
        ("task.kind=clasification", ["task.kind=clasification", "did you mean 'classification'"]),
        (
            "frozen.monitor=auc",
            ["frozen.monitor=auc: unknown metric (did you mean 'auroc'?). Choose one of: loss, "],
        ),
        ("finetune.monitor=brier", ["finetune.monitor=brier: unknown metric", "balanced_accuracy"]),
        ("gate.metric=f1", ["gate.metric=f1: unknown metric", "paper_f1"]),
        ("data.source=tiff", ["data.source=tiff", "synthetic"]),
        ("model.peft.method=lorra", ["model.peft.method=lorra", "'lora'"]),
        ("seed=!!python/name:os.getpid", ["line 1: the YAML tag !!python/name:os.getpid is not allowed"]),
        ("seed=!x 1", ["line 1: the YAML tag !x is not allowed. Remove it"]),
        ("seed=[1", ["not valid YAML: expected ',' or ']', but got the end of the text"]),
        ("data=\na:\n\tb: 1", ["line 3: not valid YAML: a tab is not allowed here. Use spaces"]),
        ("frozen={<<: 3}", ["line 1: << merges a mapping"]),
        ("schedule=both", ['schedule=both: expected one of "frozen", "full", "staged"']),
        ("frozen.augment.rotat=2", ["frozen.augment.rotat", "'rotate'"]),
        ("evaluate.reliability_bins=1", ["evaluate.reliability_bins=1: expected an integer from 2 to 100"]),
        ("evaluate.bootstrap=1", ["evaluate.bootstrap=1: no longer supported", "Delete this key."]),
        ("gate.max_ece=0.1", ["gate.max_ece=0.1: replaced", "Use gate.max_confidence_gap."]),
        ("gate.min_patients=6", ["gate.min_patients=6: replaced", "Use gate.min_patients_per_class."]),
        ("gate.metric=calibration_slope", ["gate.metric=calibration_slope: unknown metric", "brier"]),
        ("export.precisions=[fp16]", ['export.precisions=["fp16"]: fp32 is missing']),
        ("no_equals_sign", ["expected KEY=VALUE"]),
        ("data.root=[1", ["not valid YAML"]),
        ("data.root=@x", ["not valid YAML"]),
        ("frozen.lr=.inf", ["frozen.lr", "finite"]),
        ("model.backbone_args={x: .nan}", ["backbone_args", "finite"]),
        ("frozen={feature_views: 8, augment: {dihedral: false}}", ["frozen.feature_views=8", "augment.dihedral=false"]),
        ("export.batch_sizes=[]", ["export.batch_sizes"]),
        (
            "model.backbone_args={checkpoint_path: a.pth}",
            ["model.backbone_args.checkpoint_path=a.pth", "Use model.weights"],
        ),
    ],
)
def test_load__error_names_key_value_and_fix(assignment, expected):
    with pytest.raises(InputError) as error_info:
        load.load(sets=[assignment])
    message = str(error_info.value)
    assert "\n" not in message
    assert all(text in message for text in expected), message


@pytest.mark.parametrize("target", ["sftp://me:hunter2@host/bundles", "https://host/bundles?token=hunter2"])
def test_load__secret_in_the_target_is_rejected_and_not_repeated(target):
    with pytest.raises(InputError, match=r"handoff\.target: it contains a password or token") as error_info:
        load.load(sets=[f"handoff.target={target}"])
    assert "hunter2" not in str(error_info.value)


def test_load__yaml_tag_creates_no_object(tmp_path):
    path = tmp_path / "tagged.yaml"
    path.write_text("seed: !!python/object/apply:os.mkdir ['" + str(tmp_path / "created") + "']\n")
    with pytest.raises(InputError):
        load.load(path)
    assert not (tmp_path / "created").exists()


def test_load__rejects_missing_file_and_invalid_yaml(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load.load(tmp_path / "none.yaml")
    invalid = tmp_path / "invalid.yaml"
    invalid.write_text("seed: [1\n")
    with pytest.raises(InputError, match="not valid YAML"):
        load.load(invalid)


def test_load__task_defaults_to_classification(tmp_path):
    tree = load.read(load.DEFAULT_PARAMS)
    del tree["task"]
    assert load.validate(tree).task.kind == "classification"


def test_load__the_order_of_sets_does_not_matter():
    sets = ["data.csv=labels.csv", "data.root=/somewhere", "data.source=folder"]
    for order in (sets, sets[::-1]):
        data = load.load(sets=order).data
        assert (data.source, data.root, data.csv) == ("folder", "/somewhere", "labels.csv")


def test_load__rejects_binary_file(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"seed: \xff")
    with pytest.raises(InputError, match="not a UTF-8 text file"):
        load.load(path)


def test_merge__new_source_drops_keys_of_the_old_source():
    tree = load.read(load.DEFAULT_PARAMS)
    load.merge(tree, {"data": {"source": "folder"}})
    assert "labels" not in tree["data"]
    assert tree["data"]["split"]["protocol"] == "patient"
    assert tree["data"]["root"] == "data/raw"


@pytest.mark.parametrize(
    ("sets", "args", "weights"),
    [
        (["model.backbone=mobilenetv2_100"], {}, "hub"),
        (["model.backbone=test_efficientnet"], {}, "bundled"),
        (["model.backbone=test_vit"], {"img_size": 128}, "bundled"),
        (["model.backbone_args={img_size: 64}", "model.backbone=deit_tiny_patch16_224"], {"img_size": 64}, "hub"),
        (["model.weights=none", "model.backbone=mobilenetv2_100"], {}, "none"),
    ],
    ids=["other", "other-shipped", "same", "with-its-own", "with-weights"],
)
def test_merge__new_backbone_drops_arguments(sets, args, weights):
    model = load.load(sets=sets).model
    assert (model.backbone_args, model.weights) == (args, weights)


def test_merge__new_backbone_in_an_overlay_drops_arguments(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        "model: {backbone: resnet18, weights: a.pth, backbone_args: {output_stride: 8},"
        " normalization: {mean: [0, 0, 0], std: [1, 1, 1]}}\n"
    )
    second.write_text("model: {backbone: resnet34}\n")
    tree = load.read_tree([first, second])["model"]
    assert tree["backbone"] == "resnet34"
    assert not {"backbone_args", "weights", "normalization"} & tree.keys()
    second.write_text("model: {backbone: resnet18, batchnorm: train}\n")
    assert load.read_tree([first, second])["model"]["backbone_args"] == {"output_stride": 8}


def test_set__scientific_notation_is_a_number():
    assert load.load(sets=["frozen.lr=1e-4"]).frozen.lr == pytest.approx(1e-4)


def test_apply__writes_the_value_and_preserves_comments(tmp_path):
    target = tmp_path / "params.yaml"
    target.write_text(load.DEFAULT_PARAMS.read_text())
    assert call(["params", "set", "frozen.epochs=3", "--to", str(target)]) == 0
    text = target.read_text()
    assert "# One section per stage" in text
    assert "val_fold: null" in text
    assert load.read(target)["frozen"]["epochs"] == 3


def test_apply__invalid_value_does_not_change_the_file(tmp_path, capsys):
    target = tmp_path / "params.yaml"
    target.write_text(load.DEFAULT_PARAMS.read_text())
    assert call(["params", "set", "frozen.epochs=none", "--to", str(target)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: frozen.epochs")
    assert error.count("\n") == 1
    assert target.read_text() == load.DEFAULT_PARAMS.read_text()


def test_apply__missing_root_does_not_change_the_file(tmp_path, capsys):
    target = tmp_path / "params.yaml"
    target.write_text(load.DEFAULT_PARAMS.read_text())
    assert call(["params", "set", "data.source=hcrf", "data.root=/nowhere", "--to", str(target)]) == 2
    assert "data.root=/nowhere" in capsys.readouterr().err
    assert target.read_text() == load.DEFAULT_PARAMS.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x]\n" + "".join(f"{n}: &{n} [{f'*{m}, ' * 9}]\n" for m, n in zip("abcdef", "bcdefg", strict=True)),
         "more than 100,000 values"),
        ("seed: " + "[" * 900 + "]" * 900, "not valid YAML"),
        ("seed: " + "9" * 5000, "more than 4,300 digits"),
    ],
    ids=["aliases", "depth", "digits"],
)  # fmt: skip
def test_load__rejects_yaml_bombs(tmp_path, text, message):
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text(text)
    with pytest.raises(InputError, match=message):
        load.load(bomb)


@pytest.mark.parametrize("key", ["seed", "frozen.epochs", "data.patients", "frozen.augment.shift"])
def test_load__rejects_boolean_as_number(key):
    with pytest.raises(InputError, match=f"{key}=true: a boolean is not allowed. Use "):
        load.load(sets=[f"{key}=true"])


def test_load__unknown_key_of_an_optional_section():
    with pytest.raises(InputError, match=r"model\.normalization\.meann: unknown key \(did you mean 'mean'"):
        load.load(sets=["model.normalization={meann: [0, 0, 0], mean: [0, 0, 0], std: [1, 1, 1]}"])


def test_load__control_character_is_named_with_its_line(tmp_path):
    (tmp_path / "p.yaml").write_text("seed: 1\nschedule: \0frozen\n")
    with pytest.raises(InputError, match=r"p\.yaml line 2: contains a control character \(code 0\)"):
        load.load(tmp_path / "p.yaml")
