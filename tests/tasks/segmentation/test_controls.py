"""Controls of segmentation: the models that have them, and their params."""

import math

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.runtime.cache_key import data_key, stage_key
from medtune.tasks import base

RECIPE = PROJECT / "recipes" / "segmentation.yaml"
BOTH = "task.controls=[decoder_only, scratch]"
IMAGES = (7, 8, 33)


def params_of(*sets):
    return load(RECIPE, [BOTH, *sets])


def steps_of(params, images):
    """Return the optimizer steps of all stages with a number of training volumes."""
    sections = [getattr(params, stage) for stage in params.training_stages]
    groups = [section.batch_size * section.gradient_accumulation_steps for section in sections]
    return sum(
        section.epochs * math.ceil(images * section.repeats_for(images) / group)
        for section, group in zip(sections, groups, strict=True)
    )


@pytest.mark.parametrize(
    "sets",
    [
        [],
        ["schedule=frozen"],
        ["schedule=full"],
        ["frozen.min_steps=0", "finetune.min_steps=0"],
        ["frozen.min_steps=0", "finetune.min_steps=0", "frozen.repeats_per_epoch=3", "finetune.repeats_per_epoch=3"],
    ],
)
def test_controls__have_the_steps_folds_and_data_of_the_model(sets):
    params = params_of(*sets)
    controls = base.trained_controls(params)
    assert list(controls) == ["decoder_only", "scratch"]
    for control in controls.values():
        assert [steps_of(control, n) for n in IMAGES] == [steps_of(params, n) for n in IMAGES]
        assert control.trained_networks == params.data.split.trained_folds
        assert (control.seed, control.data, control.task.augment) == (params.seed, params.data, params.task.augment)
        assert len(control.training_stages) == 1
        assert data_key(control) == data_key(params)
        assert base.trained_controls(control) == {}


@pytest.mark.parametrize(
    "sets",
    [
        ["frozen.min_steps=0", "finetune.min_steps=0", "frozen.batch_size=8"],
        ["frozen.min_steps=0", "finetune.min_steps=0", "finetune.repeats_per_epoch=4"],
    ],
)
def test_controls__stages_with_other_batches_give_no_fewer_steps(sets):
    params = params_of(*sets)
    for control in base.trained_controls(params).values():
        assert all(steps_of(control, n) >= steps_of(params, n) for n in IMAGES)


def test_controls__lack_one_part_each():
    params = params_of("model.head.slice_scale=3.0", "model.head.width=6", "finetune.gradient_checkpointing=true")
    decoder, scratch = base.trained_controls(params).values()
    assert (decoder.model.backbone, decoder.model.weights, decoder.schedule) == ("none", "none", "frozen")
    assert decoder.model.head.width == 6
    assert decoder.learning_rates("frozen") == params.learning_rates("frozen") == (5e-3,)
    assert (scratch.model.backbone, scratch.model.weights, scratch.schedule) == ("test_vit", "none", "full")
    assert scratch.model.head == params.model.head
    assert scratch.model.peft.method == "none"
    assert scratch.learning_rates("finetune") == (1e-3,)
    named = params_of("finetune.lr={lora: 0.002, none: 0.0004}")
    assert base.trained_controls(named)["scratch"].learning_rates("finetune") == (4e-4,)
    frozen = params_of("schedule=frozen", "frozen.batch_size=3", "frozen.ema_decay=0.5")
    scratch = base.trained_controls(frozen)["scratch"]
    assert (scratch.finetune.batch_size, scratch.finetune.ema_decay) == (3, 0.5)


@pytest.mark.parametrize(
    ("sets", "absent"),
    [
        ([], {}),
        (["task.controls=[scratch]"], {"decoder_only": "not trained (task.controls)"}),
        (["task.controls=[]"], dict.fromkeys(("decoder_only", "scratch"), "not trained (task.controls)")),
        (["model.weights=none"], {"scratch": "the model itself is this control, because it has no pretrained weights"}),
        (
            ["model.backbone=none", "model.weights=none", "model.peft.method=none", "schedule=frozen"],
            {"decoder_only": "the model itself is this control, because it is the decoder alone",
             "scratch": "the model itself is this control, because it has no pretrained weights"},
        ),
    ],
)  # fmt: skip
def test_controls__a_report_states_why_a_control_is_not_trained(sets, absent):
    controls = base.controls(params_of(*sets))
    assert {control.name: control.absence for control in controls if control.params is None} == absent


@pytest.mark.parametrize("backbone", ["unet", "dynunet", "segresnet", "swinunetr", "brain_unet3d"])
def test_controls__networks_of_volumes_are_compared_with_the_decoder(backbone):
    recipe = PROJECT / "recipes" / "segmentation_unet.yaml"
    params = load(recipe, [BOTH, f"model.backbone={backbone}", "model.backbone_args={}"])
    decoder, scratch = base.controls(params)
    assert (decoder.part, scratch.params) == (f"network {backbone}", None)
    assert (decoder.params.model.backbone, decoder.params.model.peft.method) == ("none", "none")
    assert [steps_of(decoder.params, n) for n in IMAGES] == [steps_of(params, n) for n in IMAGES]
    assert data_key(decoder.params) == data_key(params)
    assert decoder.params.learning_rates("finetune") == params.learning_rates("finetune") == (3e-3,)


def test_controls__pretrained_networks_of_volumes_have_both():
    sets = [BOTH, "model.weights=unet.safetensors", "model.peft.method=lora", "schedule=staged"]
    params = load(PROJECT / "recipes" / "segmentation_unet.yaml", sets)
    decoder, scratch = base.trained_controls(params).values()
    assert (decoder.schedule, decoder.learning_rates("frozen")) == ("frozen", (5e-3,))
    assert (scratch.schedule, scratch.model.weights, scratch.model.backbone) == ("full", "none", "unet")


def test_controls__repeated_name_is_refused():
    with pytest.raises(InputError, match=r"task\.controls.*repeated"):
        params_of("task.controls=[scratch, scratch]")


@pytest.mark.parametrize(("stage", "changes"), [("frozen", 1), ("finetune", 1), ("trial", 1), ("evaluate", 2)])
def test_controls__change_only_the_key_of_the_evaluation(stage, changes):
    keys = {stage_key(stage, params_of(sets), {}, "cpu") for sets in (BOTH, "task.controls=[]")}
    assert len(keys) == changes


def test_controls__tasks_without_controls():
    assert base.controls(load()) == ()
