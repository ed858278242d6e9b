"""Backbones: token shapes, weights, and checks before training."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.models import backbones
from medtune.models.classifier import build, build_head

BASE = ["model.weights=none", "model.backbone_args={}", "data.image_size=224"]


def params_for(backbone, *sets):
    return load(sets=[*BASE, f"model.backbone={backbone}", *sets])


@pytest.mark.parametrize(
    ("backbone", "size", "shape"),
    [
        ("vit_base_patch16_clip_224", 224, (196, 768, 1)),
        ("convnext_base", 224, (49, 1024, 0)),
        ("mobilenetv2_100", 224, (49, 1280, 0)),
        ("resnet18", 64, (4, 512, 0)),
        ("swin_tiny_patch4_window7_224", 224, (49, 768, 0)),
        ("vit_small_patch14_reg4_dinov2", 518, (1369, 384, 5)),
        ("volo_d1_224", 224, (196, 384, 1)),
        ("coat_lite_tiny", 224, (49, 320, 1)),
        ("cait_xxs24_224", 224, (196, 192, 1)),
    ],
)
def test_check__returns_the_token_shape_without_weights(backbone, size, shape):
    token_shape = backbones.check_backbone(params_for(backbone, f"data.image_size={size}"))
    assert (token_shape.tokens, token_shape.channels, token_shape.prefix) == shape
    assert token_shape.class_token == (token_shape.prefix > 0)


PAPER_COUNTS = {"vit_base_patch16_clip_224": 17_077_444, "convnext_base": 10_483_120}


@pytest.mark.parametrize(("backbone", "count"), PAPER_COUNTS.items())
def test_stage1_trainable_count__equals_the_paper(backbone, count):
    params = params_for(
        backbone,
        "model.head.kind=cdtm",
        "model.head.skip=false",
        "model.head.temperature=fixed",
        "model.head.init=normal",
    )
    head, reads = build_head(params, backbones.check_backbone(params), classes=4)
    assert reads == "tokens"
    assert sum(p.numel() for p in head.parameters()) == count


@pytest.mark.parametrize("backbone", ["vit_base_patch16_clip_224", "convnext_base"])
def test_transformer_baseline__has_as_many_parameters_as_the_module(backbone):
    params = params_for(backbone, "model.head.kind=transformer")
    head, _ = build_head(params, backbones.check_backbone(params), classes=4)
    assert sum(p.numel() for p in head.parameters()) == pytest.approx(PAPER_COUNTS[backbone], rel=1e-3)


@pytest.mark.parametrize(
    ("sets", "fragments"),
    [
        (["model.backbone=resnet1800"], ["model.backbone=resnet1800: not a timm model", "resnet"]),
        (["model.backbone=resnet18.a1_in1kk", "model.weights=hub"], ["no tag 'a1_in1kk'", "a1_in1k"]),
        (["model.backbone=deit_tiny_patch16_224", "data.image_size=96"], ["96", "224", "img_size"]),
        (["model.backbone=test_vit", "data.image_size=128", "model.head={kind: cdtm, tokens: 196}"], ["196", "N = 64"]),
        (["model.backbone=resnet18", "model.backbone_args={colour: red}"], ["colour"]),
        (
            ["model.backbone=convnext_atto", "data.image_size=16"],
            ["convnext_atto", "does not run at data.image_size=16"],
        ),
        (["model.backbone=crossvit_9_240", "data.image_size=240"], ["crossvit_9_240", "neither a feature map nor"]),
        (["model.backbone=resnet18", "model.weights=missing.pth"], ["model.weights=missing.pth: no such file", "hub"]),
        (
            ["model.backbone=resnet18", "model.weights=bundled"],
            ["model.weights=bundled: no weights are shipped for resnet18"],
        ),
    ],
)
def test_check__rejects_incompatible_settings(sets, fragments):
    with pytest.raises(InputError) as error:
        backbones.check_backbone(load(sets=[*BASE, *sets]))
    assert all(fragment in str(error.value) for fragment in fragments), error.value


def save_weights(tmp_path, backbone="resnet18", **kwargs):
    import timm

    torch.manual_seed(7)
    model = timm.create_model(backbone, **kwargs)
    path = tmp_path / f"{backbone}.safetensors"
    save_file(model.state_dict(), path)
    return model, path


def test_create__loads_a_file_strictly_without_its_classifier(tmp_path):
    model, path = save_weights(tmp_path)
    backbone = backbones.create_backbone(params_for("resnet18", f"model.weights={path}"))
    torch.testing.assert_close(backbone.conv1.weight, model.conv1.weight)


def test_create__resamples_the_position_embedding(tmp_path):
    _, path = save_weights(tmp_path, "deit_tiny_patch16_224")
    sets = [f"model.weights={path}", "model.backbone_args={img_size: 64}", "data.image_size=64"]
    assert backbones.create_backbone(params_for("deit_tiny_patch16_224", *sets)).pos_embed.shape[1] == 17


def test_create__error_names_differing_keys(tmp_path):
    _, path = save_weights(tmp_path)
    with pytest.raises(InputError, match=r"does not fit.*keys differ"):
        backbones.create_backbone(params_for("resnet34", f"model.weights={path}"))


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_create__rejects_a_pickle_without_executing_it(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Bomb()}, path, pickle_module=pickle)
    with pytest.raises(InputError, match=r"evil.pth: it cannot be read as plain tensors"):
        backbones.create_backbone(params_for("resnet18", f"model.weights={path}"))


def test_create__rejects_a_truncated_file(tmp_path):
    _, path = save_weights(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        backbones.create_backbone(params_for("resnet18", f"model.weights={path}"))


def test_build__linear_reads_the_class_token_of_a_vit_and_the_mean_of_a_cnn():
    vit = build(params_for("test_vit", "model.head.kind=linear", "data.image_size=160"), classes=2)
    x = torch.randn(2, 3, 160, 160)
    torch.testing.assert_close(vit.features(x)[:, 0], vit.backbone.forward_features(x)[:, 0])
    cnn = build(params_for("test_convnext", "model.head.kind=linear", "data.image_size=160"), classes=2)
    torch.testing.assert_close(cnn.features(x)[:, 0], cnn.backbone.forward_features(x).mean((2, 3)))


@pytest.mark.real
@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "mobilenetv2_100"])
def test_real_weights__load_with_their_normalization(shared, name):
    if name == "mobilenetv2_100":
        sets = [
            f"model.weights={shared / 'weights' / 'mobilenetv2_100_tfsame_folded.safetensors'}",
            "model.backbone_args={pad_type: same}",
            "model.normalization={mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}",
        ]
    else:
        sets = [f"model.weights={shared / 'weights' / 'deit_tiny_patch16_224.safetensors'}"]
    model = build(params_for(name, *sets), classes=2)
    assert model.mean[0] == pytest.approx(0.5 if name == "mobilenetv2_100" else 0.485)
    assert torch.isfinite(model(torch.randn(1, 3, 224, 224))).all()


def test_family__rejects_an_unknown_model():
    with pytest.raises(InputError, match="backbone=nonesuch: not a timm model"):
        backbones.family("nonesuch")
