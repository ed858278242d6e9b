"""Params that task segmentation requires, does not use, or refuses for some networks."""

import pytest

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.volume_model import VOLUME_NETWORKS
from medtune.runtime.cache_key import stage_key

BASE = ("task.kind=segmentation", "data.source=phantom", "model.head.kind=decoder", "frozen.monitor=dice",
        "finetune.monitor=dice", "gate.metric=dice", "model.backbone_args={}")  # fmt: skip
ALONE = ("model.backbone=none", "model.weights=none")
UNET = ("model.backbone=unet", "model.weights=none")


def refused(*sets):
    """Return the message, which is one line."""
    with pytest.raises(InputError) as error:
        load(sets=[*BASE, *sets])
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "sets",
    [
        (),
        (*ALONE, "schedule=frozen"),
        (*ALONE, "schedule=full"),
        (*UNET, "schedule=staged", "model.peft.method=lora"),
        ("finetune.class_weights=none", "evaluate.calibration=none", "finetune.channels_last=false"),
        ("model.backbone=brain_unet3d", "model.weights=a.safetensors", "data.intensity.rule=minmax"),
        ("model.backbone=brain_unet3d", "model.weights=none"),
        ("model.normalization={mean: [.5, .5, .5], std: [.5, .5, .5]}", "model.head.slice_axis=x"),
    ],
)
def test_check__accepts(sets):
    assert load(sets=[*BASE, *sets]).model.head.reads_volumes


@pytest.mark.parametrize("name", registry.plugin_names("medtune.models.heads"))
def test_check__requires_a_head_that_reads_volumes_only_for_segmentation(name):
    sets = [f"model.head.kind={name}"]
    if name == "decoder":
        load(sets=[*BASE, *sets])
        with pytest.raises(InputError, match=r"kind=decoder: it reads volumes, unlike task classification"):
            load(sets=sets)
    elif name != "attention_mil":  # refused before, because it needs slides
        message = f"model.head.kind={name}: it reads images, unlike task segmentation. Use model.head.kind=decoder"
        assert refused(*sets) == message


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("frozen.label_smoothing", "0.1", "Remove it"),
        ("frozen.class_weights", "{lesion: 2}", "Remove it"),
        ("finetune.augment.rotate", "10.0", "Use task.augment instead"),
        ("finetune.augment.dihedral", "false", "Use task.augment instead"),
        ("finetune.channels_last", "true", "Remove it"),
        ("evaluate.threshold", "argmax", "Remove it"),
        ("evaluate.patient_score", "max", "Remove it"),
        ("evaluate.reliability_bins", "9", "Remove it"),
        ("gate.max_confidence_gap", "0.5", "Remove it"),
    ],
)
def test_check__refuses_settings_without_effect(key, value, fix):
    message = refused(f"{key}={value}")
    assert message.startswith(f"{key}=")
    assert message.endswith(f": task segmentation does not use it. {fix}")
    load(sets=[f"{key}={value}"] if "lesion" not in value else [])  # other tasks use it


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([*UNET, "model.weights=hub"], "model.weights=hub: unet, a network of volumes, has no published weights. Use "
         "none or a file"),
        ([*ALONE, "model.weights=bundled"], "model.weights=bundled: model.backbone=none has no published weights. Use "
         "none"),
        (["model.backbone=brain_unet3d", "model.weights=a.safetensors"], "data.intensity.rule=zscore: the weights of "
         "brain_unet3d expect values from 0 to 1. Use minmax"),
        ([*ALONE, "schedule=staged"], "schedule=staged: with model.backbone=none both stages would train the decoder. "
         "Use frozen or full"),
        ([*ALONE, "model.peft.method=lora"], "model.peft.method=lora: model.backbone=none leaves nothing to adapt. Use "
         "none"),
        ([*ALONE, "model.backbone_args={a: 1}"], 'model.backbone_args={"a": 1}: model.backbone=none has no arguments. '
         "Use {}"),
        ([*UNET, "model.head.slice_scale=3"], "model.head.slice_scale=3.0: unet, a network of volumes, does not read "
         "slices. Remove it"),
        ([*UNET, "model.head.width=8"], "model.head.width=8: unet, a network of volumes, has its own decoder. Remove "
         "it"),
        ([*UNET, "finetune.gradient_checkpointing=true"], "finetune.gradient_checkpointing=true: unet, a network of "
         "volumes, does not support it. Use false"),
    ],
)  # fmt: skip
def test_check__refuses_settings_of_other_networks(sets, message):
    assert refused(*sets) == message


def test_volume_networks__are_those_of_the_models():
    from medtune.models.volume_networks import ARCHITECTURES

    assert set(VOLUME_NETWORKS) == set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        (
            ["task.mirror_views=[x]"],
            'task.mirror_views=["x"]: training does not mirror x. Add it to task.augment.mirror, or remove it here',
        ),
        (
            ["task.mirror_views=[y, x, z]", "task.augment.mirror=[y]"],
            'task.mirror_views=["y", "x", "z"]: training does not mirror x, z.',
        ),
        (["task.mirror_views=[y, y]", "task.augment.mirror=[y]"], "an axis is repeated. Name each axis once"),
    ],
)
def test_mirror_views__are_axes_that_training_mirrors(sets, problem):
    assert problem in refused(*sets)


def test_mirror_views__are_not_a_setting_of_the_training():
    sets = [*BASE, *ALONE, "schedule=frozen", "task.augment.mirror=[x, z]"]
    plain, mirrored = load(sets=sets), load(sets=[*sets, "task.mirror_views=[z, x]"])
    assert mirrored.task.views == (0, 2)
    keys = [stage_key("frozen", params, {}, "cpu") for params in (plain, mirrored)]
    assert keys[0] == keys[1]
    keys = [stage_key("evaluate", params, {}, "cpu") for params in (plain, mirrored)]
    assert keys[0] != keys[1]
