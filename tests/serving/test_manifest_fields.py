"""Invalid fields of a bundle.json with a valid checksum."""

import pytest

from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classes": ["blue", "red", "green"], "decision": {"kind": "argmax"}},
            "bundle.json requires (batch, 3): blue, red, green",
        ),
        ({"classes": ["red", "red"]}, "classes"),
        ({"preprocessing": {"image_size": 9, "resize": "squash"}}, 'key "preprocessing.image_size" is 9'),
        (
            {"preprocessing": {"image_size": 8, "resize": "stretch"}},
            'key "preprocessing.resize" is "stretch": expected "squash", "pad" or "crop"',
        ),
        ({"input": {"name": "pixels"}}, 'key "input.name" is "pixels", but the only input of '),
        ({"task": 7}, 'key "task" is 7: expected a mapping with the key "kind"'),
        ({"output": {}}, 'key "output.name" is missing or null: expected a string. Export'),
        (
            {"decision": {"kind": "threshold", "positive": "green", "threshold": 0.5}},
            'key "decision.positive" is "green": expected "blue" or "red"',
        ),
        (
            {"classes": ["a", "b", "c"], "decision": {"kind": "threshold", "positive": "a", "threshold": 0.5}},
            'key "decision.kind" is "threshold", which requires two classes, but key "classes" has 3',
        ),
        ({"decision": {"kind": "coin"}}, 'key "decision.kind" is "coin": expected "argmax" or "threshold"'),
        ({"decision": 7}, 'key "decision" is 7: expected a mapping with the key "kind"'),
        ({"decision": {"kind": "threshold", "positive": "red"}}, 'key "decision.threshold" is missing or null'),
        ({"positive": "green"}, 'key "positive" is "green"'),
        (
            {"positive": "blue", "decision": {"kind": "threshold", "positive": "red", "threshold": 0.5}},
            'key "decision.positive" is "red", but key "positive" is "blue"',
        ),
        ({"precisions": {"fp32": {"shipped": True}}}, 'key "precisions.fp32.file" is missing or null'),
        ({"precisions": {"fp32": [1]}}, 'key "precisions.fp32" is [1]: expected a mapping with the key "shipped"'),
        (
            {"precisions": {"fp32": {"shipped": False}}},
            '"shipped" is false for every precision',
        ),
        ({"files": []}, 'key "files" is []'),
        ({"files": {"model.onnx": [1]}}, 'key "files.model.onnx" is [1]: expected the SHA-256'),
    ],
)
def test_load__error_names_the_invalid_field(by_hand, tmp_path, changes, message):
    folder = by_hand.write(tmp_path / "bundle", **changes)
    with pytest.raises(BundleError) as error:
        Bundle.load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
