import pytest

from medtune.config.errors import InputError
from medtune.data.external_labels import check_channels, match_labels


@pytest.mark.parametrize(
    ("labels", "label_map", "expected"),
    [
        (["liver", "tumor"], {}, (0, 1, 2)),
        (["Tumor", " liver"], {}, (0, 2, 1)),
        (["left", "right", "tumor"], {"left": "liver", "right": "liver"}, (0, 1, 1, 2)),
        (["liver", "cyst", "tumor"], {"cyst": "background"}, (0, 1, 0, 2)),
    ],
)
def test_match_labels__by_name_and_map(labels, label_map, expected):
    assert match_labels(labels, ["liver", "tumor"], label_map) == expected


@pytest.mark.parametrize(
    ("labels", "label_map", "message"),
    [
        (
            ["liver", "cyst", "tumor"],
            {},
            "labels cyst are not classes of the bundle .*Map them to classes, or to backg",
        ),
        (["liver"], {}, "the bundle also predicts tumor"),
        (["liver", "tumor"], {"tumor": "background"}, "the bundle also predicts tumor"),
        (["liver", "tumor"], {"livr": "liver"}, r"no label 'livr' \(did you mean 'liver'\?\)"),
        (["liver", "mass"], {"mass": "tumour"}, r"'tumour' is not a class of the bundle \(did you mean 'tumor'\?\)"),
    ],
)
def test_match_labels__differences_are_refused(labels, label_map, message):
    with pytest.raises(InputError, match=message):
        match_labels(labels, ["liver", "tumor"], label_map)


def test_check_channels__order_and_number_count():
    check_channels(["t1", "T2"], ["T1", "T2"])
    check_channels(["image"], ["CT"])
    for found in (["T2", "T1"], ["T1"], ["T1", "FLAIR"], ["image"]):
        with pytest.raises(InputError, match="the channels of the data are"):
            check_channels(found, ["T1", "T2"])
