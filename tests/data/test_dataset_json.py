import json

import pytest

from medtune.config.errors import InputError
from medtune.data.dataset_json import (
    FILE,
    channel_names,
    data_root,
    label_names,
    numbered_labels,
    read_dataset_json,
    read_mapping,
)
from medtune.data.sources import decathlon

KEYS, OTHER = ("modality", "labels"), ("channel_names", "nnunet")


def read(root):
    return read_dataset_json(root, "decathlon", KEYS, OTHER)


def message(function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_read__returns_the_content(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"modality": {}, "labels": {}, "more": 1}), encoding="utf-8-sig")
    assert read(tmp_path) == {"modality": {}, "labels": {}, "more": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "damaged, it is not JSON. Copy it again from the data set"),
        ("[" * 100_000, "damaged, it is not JSON"),
        ("\xff", "damaged, it is not JSON"),
        ("[1]", "dataset.json: expected an object with the keys modality, labels"),
        ('{"modality": {}}', 'dataset.json: key "labels" is missing; found "modality". Add it'),
        ('{"labels": {"1": "a", "1": "b"}}', 'dataset.json: the key "1" occurs twice in one object'),
        (
            '{"channel_names": {}}',
            "dataset.json has the layout of nnunet. Use data.source=nnunet",
        ),
    ],
)
def test_read__invalid_file_is_an_error(tmp_path, text, problem):
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    assert problem in message(read, tmp_path)


def test_read__missing_file_is_an_error(tmp_path):
    assert message(read, tmp_path).startswith(f"data.root={tmp_path}: no dataset.json. Set data.root to")
    assert message(read, tmp_path / "x").startswith(f"data.root={tmp_path / 'x'}: no such path")
    assert message(read, None).startswith("data.root=null")
    (tmp_path / "Task04_Hippocampus").mkdir()
    (tmp_path / "Task04_Hippocampus" / FILE).touch()
    found = f"dataset.json is in Task04_Hippocampus. Use --set data.root={tmp_path}/Task04_Hippocampus"
    assert found in message(read, tmp_path)
    (tmp_path / "x.tar").touch()
    assert "needs a folder of volumes. Unpack an archive first" in message(read, tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("labels", "number_first", "expected"),
    [
        ({"0": "background"}, True, [("0", "background")]),
        ({"background": "0", "a": 1}, True, [("0", "background"), (1, "a")]),
        ({"background": 0, "a": "1"}, False, [(0, "background"), ("1", "a")]),
        ({"0": "background", "1": "a"}, False, [("0", "background"), ("1", "a")]),
        ({"0": "1"}, True, [("0", "1")]),
        ({"0": "1"}, False, [("1", "0")]),
        ({"0": "background", "one": "a"}, True, [("0", "background"), ("one", "a")]),
        ({"background": 0, "whole": [1, 2]}, False, [(0, "background"), ([1, 2], "whole")]),
    ],
)
def test_numbered_labels__are_read_in_both_orders_if_the_numbers_are_unambiguous(labels, number_first, expected):
    assert numbered_labels(labels, number_first) == expected


@pytest.mark.parametrize(
    "labels",
    [
        [("0", "background"), ("1", "liver"), ("2", "tumor")],
        [(2, "tumor"), (0, "Background"), (1, " liver ")],
    ],
)
def test_label_names__are_sorted_by_number(labels):
    assert label_names(labels) == ("liver", "tumor")


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([("x", "liver")], 'label "liver" has the unknown number "x"; expected 0 to 254. Correct it'),
        ([("-1", "liver")], 'unknown number "-1"'),
        ([(-1, "liver")], "unknown number -1"),
        ([(1.0, "liver")], "unknown number 1.0"),
        ([(True, "liver")], "unknown number true"),
        ([(256, "liver")], "unknown number 256"),
        ([("²", "liver")], 'unknown number "²"'),
        ([(None, "liver")], "unknown number null"),
        ([("0", "background"), ("1", "")], 'label 1 has the name "". Name it with one line of text'),
        ([("0", "background"), ("1", ["a"])], 'label 1 has the name ["a"]'),
        ([("0", "background"), ("1", "a\nb")], 'label 1 has the name "a\\nb"'),
        ([("0", "background"), ("1", "a"), ("01", "b")], 'labels "a" and "b" both have number 1'),
        ([("0", "background"), ("1", "a"), ("2", "A")], "labels 'a' and 'A' have the same name"),
        ([("0", "background"), ("1", "background ")], "label 'background' is the background, which is label 0"),
        ([("0", "liver"), ("1", "tumor")], 'label 0 is "liver", but 0 must be the background'),
        ([("1", "tumor")], "there is no label 0, but 0 must be the background"),
        ([("0", "background")], "there is no label except the background"),
        (
            [("0", "background"), ("1", "a"), ("4", "b")],
            "the label numbers 2, 3 have no name. Number the labels",
        ),
        ([("0", "background"), ("9", "b")], "the label numbers 1, 2, 3, 4, 5 and 3 more have no name"),
    ],
)
def test_label_names__invalid_labels_are_an_error(labels, problem):
    assert problem in message(label_names, labels)


def test_channel_names__are_sorted_by_number():
    assert channel_names({"modality": {"1": "T2", "0": "T1"}}, "modality") == ("T1", "T2")


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        (["MRI"], 'key "modality" is ["MRI"]: expected a mapping, such as {"0": "MRI"}. Correct it'),
        ({}, 'key "modality" is {}: expected a mapping'),
        ({"1": "MRI"}, "expected a name for each number from 0"),
        ({"0": "T1", "2": "T2"}, "expected a name for each number from 0"),
        ({"0": "T1", "00": "T2"}, "expected a name for each number from 0"),
        ({"MRI": 0}, "expected a name for each number from 0"),
        ({"0": 3}, "expected a name for each number from 0"),
        ({str(n): "T" for n in range(5)}, 'key "modality" has 5 channels; at most 4 are supported'),
    ],
)
def test_channel_names__invalid_channels_are_an_error(channels, problem):
    assert problem in message(channel_names, {"modality": channels}, "modality")


def test_read_mapping__message_is_short():
    assert len(message(read_mapping, {"labels": ["x"] * 1000}, "labels", "{}")) < 240


def test_data_root__is_absolute(tmp_path):
    assert data_root(decathlon.Params()) is None
    assert data_root(decathlon.Params(root=str(tmp_path))) == tmp_path.resolve()
    assert data_root(decathlon.Params(root="data")).is_absolute()
