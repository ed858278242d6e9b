from types import SimpleNamespace

from medtune.serving.tasks import segmentation

DOCUMENT = {
    "classes": ["organ", "lesion"],
    "volumes": {"patch": [8, 8, 4], "channels": ["T1", "T2"], "spacing": [1.0, 1.0, 2.5]},
}


def test_rows__become_columns_and_json():
    result = SimpleNamespace(volumes_ml=(1.5, 0.0), uncertainty=(0.1, float("nan")), flags=("spacing z", "intensity"))
    (row,) = segmentation.rows([result], DOCUMENT)
    assert segmentation.columns(DOCUMENT) == [
        "ml_organ", "ml_lesion", "uncertainty_organ", "uncertainty_lesion", "flags",
    ]  # fmt: skip
    assert len(row) == 5
    assert segmentation.entry(row, DOCUMENT) == {
        "volumes_ml": {"organ": 1.5, "lesion": 0.0},
        "uncertainty": {"organ": 0.1, "lesion": None},
        "flags": ["spacing z", "intensity"],
    }
    without_flags = SimpleNamespace(volumes_ml=(1, 0), uncertainty=(0, 0), flags=())
    assert segmentation.prediction(segmentation.rows([without_flags], DOCUMENT)[0], DOCUMENT)["flags"] == []


def test_shape_and_summary__describe_the_output():
    assert segmentation.shape(DOCUMENT) == (3, 8, 8, 4)
    assert segmentation.summary(DOCUMENT) == "segments organ, lesion in T1, T2 at 1 x 1 x 2.5 mm"


def test_validate__names_the_invalid_field():
    document = {"classes": ["a", "a"], "input": {"name": "windows"}}
    assert 'key "classes" is ["a", "a"]' in segmentation.validate(document)
    assert segmentation.validate({"classes": ["a"], "input": {"name": "images"}}) == (
        'key "input.name" is "images": expected "windows"'
    )
    assert segmentation.validate({"classes": ["a"], "input": {"name": "windows"}}).startswith(
        'key "volumes" is missing or null'
    )
