"""Invalid fields of a bundle.json with a valid checksum."""

import pytest

from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classes": ["blue", "red", "green"], "decision": {"kind": "argmax"}},
            "bundle.json: output [3] (blue, red, green",
        ),
        ({"classes": ["red", "red"]}, "classes"),
        ({"preprocessing": {"image_size": 9, "resize": "squash"}}, "image_size 9"),
        ({"preprocessing": {"image_size": 8, "resize": "stretch"}}, "resize is 'stretch'"),
        ({"input": {"name": "pixels"}}, "input.name is 'pixels', but the only input of "),
        ({"output": {}}, "output.name is None"),
        ({"decision": {"kind": "threshold", "positive": "green", "threshold": 0.5}}, "'green'"),
        ({"decision": {"kind": "threshold", "positive": "red"}}, "decision.threshold is None"),
        ({"positive": "green"}, "positive is 'green'"),
        (
            {"positive": "blue", "decision": {"kind": "threshold", "positive": "red", "threshold": 0.5}},
            "decision.positive is 'red', but positive is 'blue'",
        ),
        ({"precisions": {"fp32": {"shipped": True}}}, "precisions.fp32.file is None"),
        ({"precisions": {"fp32": [1]}}, "precisions.fp32 is [1]: expected a mapping whose key 'shipped'"),
        ({"precisions": {"fp32": {"shipped": False}}}, "has no fp32 model and no other model. Export"),
        ({"files": []}, "files is"),
    ],
)
def test_load__error_names_the_invalid_field(by_hand, tmp_path, changes, message):
    folder = by_hand.write(tmp_path / "bundle", **changes)
    with pytest.raises(BundleError) as error:
        Bundle.load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
