import pytest
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.config.load import merge, validate
from medtune.data.sources import decathlon, nnunet, phantom, synthetic, volumes
from tests.stages.volume_folder import PHANTOM, volume_params


def test_params__only_those_of_volumes_have_volumes():
    assert all(source.Params().has_volumes for source in (decathlon, nnunet, phantom, volumes))
    assert not synthetic.Params().has_volumes


@pytest.mark.parametrize(("pattern", "problem"), [("(", "not a regular expression"), ("P[0-9]+", "it has no group")])
def test_params__pattern_must_have_one_group(pattern, problem):
    with pytest.raises(ValidationError, match=problem):
        nnunet.Params(patient_pattern=pattern)


def test_params__spacing_patch_and_intensity():
    params = phantom.Params(spacing=[1, 1.5, 3], patch=[32, 32, 16])
    assert (params.spacing, params.patch, params.intensity.rule) == ((1.0, 1.5, 3.0), (32, 32, 16), "zscore")
    assert params.model_dump(mode="json")["spacing"] == [1.0, 1.5, 3.0]
    window = phantom.Params(intensity={"rule": "window", "level": 40, "width": 400}).intensity
    assert (window.level, window.width) == (40.0, 400.0)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"spacing": [1, 1]}, r"data\.spacing"),
        ({"spacing": [1, 0, 1]}, r"data\.spacing\.1=0: expected a number above 0"),
        ({"patch": [0, 8, 8]}, r"data\.patch\.0=0: expected"),
        ({"intensity": {"rule": "window", "level": 40}}, r"data\.intensity\.width=null: rule window needs this number"),
        ({"intensity": {"rule": "window", "width": 40}}, r"data\.intensity\.level=null: rule window needs this number"),
        ({"intensity": {"level": 40}}, r"data\.intensity\.level=40\.0: rule zscore does not use this key"),
        ({"intensity": {"rule": "window", "level": 0, "width": 0}}, r"data\.intensity\.width=0: expected"),
        ({"intensity": {"bits": 12}}, r"data\.intensity\.bits: unknown key"),
        ({"image_size": 128}, r"data\.image_size=128: volumes do not use this key\. Remove it"),
        ({"resize": "crop"}, r"data\.resize=crop: volumes do not use this key\. Remove it"),
        ({"frames": "expand"}, r"data\.frames=expand: volumes do not use this key\. Remove it"),
        ({"positive": "lesion"}, r"data\.positive=lesion: volumes do not use this key\. Remove it"),
    ],
)
def test_params__invalid_key_is_named_in_one_line(section, problem):
    with pytest.raises(InputError, match=problem) as error:
        volume_params({**PHANTOM, **section})
    assert "\n" not in str(error.value)


def test_merge__recipe_of_volumes_removes_the_keys_of_images():
    base = {"data": {"source": "synthetic", "image_size": 128, "resize": "pad", "on_bad_image": "reject",
                     "positive": "malignant", "intensity": {"bits": 12}, "split": {"folds": 3}}}  # fmt: skip
    merge(base, {"data": {"source": "phantom", "patients": 9}})
    assert base["data"] == {"source": "phantom", "patients": 9, "on_bad_image": "reject", "split": {"folds": 3}}
    merge(base, {"data": {"spacing": [1, 1, 1]}})
    merge(base, {"data": {"source": "synthetic"}})
    assert base["data"] == {"source": "synthetic", "on_bad_image": "reject", "split": {"folds": 3}}


def test_merge__keys_of_images_in_the_recipe_remain_and_are_refused():
    base = {"data": {"source": "synthetic", "image_size": 128}}
    merge(base, {"data": {"source": "phantom", "image_size": 64}})
    assert base["data"]["image_size"] == 64
    merge(base, {"data": {"source": "unknown"}})
    assert base["data"] == {"source": "unknown", "image_size": 64}
    with pytest.raises(InputError, match=r"data\.source=unknown"):
        validate(base)
