import pytest

from medtune.config.load import load
from medtune.tracking.redact import PLACEHOLDER, redact_paths


@pytest.mark.parametrize("path", ["/mnt/data", "~/data", "../shared/data", "C:\\data", "data/../../other"])
def test_redact_paths__local_paths_are_replaced(path: str) -> None:
    assert redact_paths({"data": {"root": path, "files": [path, "a.csv"]}}) == {
        "data": {"root": PLACEHOLDER, "files": [PLACEHOLDER, "a.csv"]}
    }


@pytest.mark.parametrize("text", ["data/raw", "hub", "http://host/set.tar.gz", "vit_base.orig", "", r"(\d+)_", "a / b"])
def test_redact_paths__other_text_is_unchanged(text: str) -> None:
    assert redact_paths(text) == text


def test_redact_paths__default_params_are_unchanged() -> None:
    params = load().model_dump(mode="json")
    assert redact_paths(params) == params
