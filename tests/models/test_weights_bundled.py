import json

import pytest
import torch

from medtune.config.project import PACKAGE
from medtune.runtime.artifact import file_sha256

FOLDER = PACKAGE / "models" / "bundled"
NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def card_of(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_bundled__has_the_default_backbone_in_two_megabytes():
    assert "test_vit" in NAMES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_card__states_the_source_of_the_weights(name):
    card = card_of(name)
    assert card["sha256"] == file_sha256(FOLDER / f"{name}.safetensors")
    assert card["license"] == "Apache-2.0"
    assert card["command"].startswith(f"python -m examples.pretraining.pretrain --backbone {name} ")
    assert len(card["mean"]) == len(card["std"]) == 3
    assert card["input_size"] == [3, 128, 128]
    assert card["training"]["held_out_accuracy"] > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_weights__load_strictly_and_give_finite_tokens(name):
    import timm
    from safetensors.torch import load_file

    card = card_of(name)
    model = timm.create_model(name, pretrained=False, num_classes=0, **card["backbone_args"])
    state = load_file(FOLDER / f"{name}.safetensors")
    assert not [key for key in state if key.startswith("head.fc") or "classifier" in key]
    assert all(torch.isfinite(value).all() for value in state.values())
    model.load_state_dict(state, strict=True)
    assert sum(p.numel() for p in model.parameters()) == card["parameters"]
    with torch.inference_mode():
        tokens = model.eval().forward_features(torch.randn(2, *card["input_size"]))
    assert torch.isfinite(tokens).all()
    assert tokens.std(0).mean() > 1e-3


@pytest.mark.nightly
@pytest.mark.slow
def test_weights__transfer_to_tissue_across_patients():
    from medtune.data.sources import synthetic
    from studies import transfer

    images, labels, patients = transfer.drawn(synthetic.Params())
    for name in NAMES:
        accuracies = transfer.compare(name, images, labels, patients, [1])
        by_patient, by_image = accuracies["shipped"]
        assert 0.75 < by_patient < 0.97
        assert by_patient > accuracies["random"][0] + 0.15
        assert by_image > by_patient
