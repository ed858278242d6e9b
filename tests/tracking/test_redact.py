import pytest

from medtune.config.load import load
from medtune.tracking.redact import PLACEHOLDER, redact_paths


@pytest.mark.parametrize("path", ["/mnt/data", "~/data", "../shared/data", "C:\\data", "data/../../other"])
def test_without_paths__local_ones_are_replaced(path: str) -> None:
    assert redact_paths({"data": {"root": path, "files": [path, "a.csv"]}}) == {
        "data": {"root": PLACEHOLDER, "files": [PLACEHOLDER, "a.csv"]}
    }


@pytest.mark.parametrize("text", ["data/raw", "hub", "http://host/set.tar.gz", "vit_base.orig", "", r"(\d+)_", "a / b"])
def test_without_paths__other_text_stays(text: str) -> None:
    assert redact_paths(text) == text


def test_without_paths__the_checkouts_params_stay_as_they_are() -> None:
    params = load().model_dump(mode="json")
    assert redact_paths(params) == params
