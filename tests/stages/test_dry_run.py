"""Tests of the check before training, which rejects invalid networks and is cached."""

from types import SimpleNamespace

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.runtime.paths import RunPaths
from medtune.stages.dry_run import check_network

SMALL = (
    "schedule=staged",
    "model.weights=none",
    "data.image_size=32",
    "model.backbone_args={img_size: 32, depth: 1}",
    "model.head.kind=linear",
)
CNN = ("schedule=staged",
       "model.weights=none", "data.image_size=32", "model.backbone=test_resnet", "model.backbone_args={}",
       "model.head.kind=linear")  # fmt: skip


@pytest.fixture
def check(tmp_path):
    """Return a function that checks params with a separate cache per test."""

    def run(*sets, prepared=None):
        check_network(load(sets=sets), RunPaths(tmp_path, tmp_path / "cache"), prepared)

    return run


def test_check__runs_once_per_configuration(check, capsys):
    check(*SMALL)
    assert "checking that test_vit can be trained and exported" in capsys.readouterr().out
    check(*SMALL, "finetune.epochs=7", "evaluate.reliability_bins=9")
    assert capsys.readouterr().out == ""
    check(*SMALL, "finetune.lr=0.001")
    assert "checking" in capsys.readouterr().out


def test_check__weights_file_causes_no_warnings(check, recwarn):
    check(*SMALL[1:], "model.backbone_args={img_size: 32}")  # the shipped weights
    assert [str(warning.message) for warning in recwarn if "non-meta parameter" in str(warning.message)] == []


@pytest.mark.parametrize(
    ("sets", "fragments"),
    [
        (
            ["model.head.kind=cdtm", "model.backbone_args={img_size: 32, patch_drop_rate: 0.5}"],
            ["model.backbone=test_vit", "stage finetune fails", "patch_drop_rate", "Change"],
        ),
        (["frozen.lr=1e38"], ["frozen.lr=1e+38", "the loss is nan", "Lower frozen.lr"]),
        (["finetune.lr=1e30", "schedule=full"], ["finetune.lr=1e+30", "the loss is"]),
    ],
)
def test_check__rejects_networks_that_fail_in_a_training_step(check, sets, fragments):
    with pytest.raises(InputError) as error:
        check(*SMALL, *sets)
    assert all(fragment in str(error.value) for fragment in fragments), error.value
    assert len(str(error.value).splitlines()) == 1


def test_check__rejects_a_batch_of_one_with_batchnorm_only_if_it_occurs(check):
    def prepared(images):
        return SimpleNamespace(indices=lambda fold: {"train": np.arange(images)})

    sets = [*CNN, "model.batchnorm=train", "data.split.test_fold=1"]
    check(*sets)
    check(*sets, prepared=prepared(32))
    with pytest.raises(InputError, match=r"finetune\.batch_size=16: the last batch of fold 0 has 1 of 33 images"):
        check(*sets, prepared=prepared(33))
    with pytest.raises(InputError, match=r"finetune\.batch_size=1: .*Use 2 or more"):
        check(*sets, "finetune.batch_size=1")


def test_check__keeps_the_random_state(check):
    import torch

    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    check(*SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "args"),
    [
        ("samvit_base_patch16", "{img_size: 64, depth: 2, embed_dim: 48, num_heads: 2}"),
        ("swin_tiny_patch4_window7_224", "{img_size: 64, window_size: 2, depths: [1, 1, 1, 1]}"),
        ("xcit_nano_12_p16_224", "{img_size: 64, depth: 2}"),
    ],
)
def test_check__accepts_lora_and_export_on_other_families(check, backbone, args):
    sets = [f"model.backbone={backbone}", f"model.backbone_args={args}", "model.weights=none", "data.image_size=64"]
    check(*sets, "model.head.kind=linear", "model.peft.method=lora", "schedule=full")
    with pytest.raises(InputError, match="does not support"):
        check(*sets, "model.head.kind=linear", "model.peft.method=prefix", "schedule=full")
