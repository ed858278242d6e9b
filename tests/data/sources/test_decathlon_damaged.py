"""dataset.json with arbitrary values: one-line errors and no other exceptions."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data.sources import decathlon, nnunet

TEXT = (
    st.sampled_from(["image", "label", "0", "1", "background", "a", "a.nii", ".nii.gz", "x" * 300 + ".nii"]) | st.text()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.lists(st.fixed_dictionaries({"image": TEXT, "label": TEXT}), max_size=3)
LABELS = {"background": 0, "a": 1}
DECATHLON = st.fixed_dictionaries(
    {
        "modality": st.just({"0": "MRI"}) | JSON,
        "labels": st.just({"0": "background", "1": "a"}) | JSON,
        "training": ENTRIES | JSON,
    }
)
NNUNET = st.fixed_dictionaries(
    {
        "channel_names": st.just({"0": "MRI"}) | JSON,
        "labels": st.just(LABELS) | st.dictionaries(TEXT, JSON, max_size=3) | JSON,
        "file_ending": st.just(".nii.gz") | JSON,
        "numTraining": JSON,
    }
)


def check(source, content):
    with TemporaryDirectory() as folder:
        for name in ("imagesTr", "labelsTr"):
            (Path(folder) / name).mkdir()
        (Path(folder) / "imagesTr" / "a_0000.nii.gz").touch()
        (Path(folder) / "labelsTr" / "a.nii.gz").touch()
        (Path(folder) / "dataset.json").write_text(json.dumps(content))
        params = source.Params(root=folder)
        for function in (source.classes, source.channels, lambda params: source.list_samples(Path(folder), params)):
            assert is_short_line(message(function, params))


def message(function, params):
    """Return the error message, or an empty string if the content is valid."""
    try:
        assert function(params)
    except InputError as error:
        return str(error)
    return ""


def is_short_line(text):
    return text.isprintable() and len(text) < 2000


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(DECATHLON)
def test_decathlon__arbitrary_content(content):
    check(decathlon, content)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(NNUNET)
def test_decathlon_and_nnunet__arbitrary_content(content):
    check(nnunet, content)


@pytest.mark.parametrize("name", ["x" * 300 + ".nii", "a\0.nii", "a\nb.nii", "\udcff.nii", "a\u202eb.nii"])
def test_decathlon__impossible_file_names(name):
    check(decathlon, {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"},
                      "training": [{"image": name, "label": name}]})  # fmt: skip
    check(decathlon, {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"},
                      "training": [{"image": name, "label": "labelsTr/a.nii.gz"}]})  # fmt: skip
