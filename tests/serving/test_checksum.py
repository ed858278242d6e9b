import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.checksum import (
    ChecksumError,
    add_bytes_checksum,
    add_text_checksum,
    dump_with_checksum,
    load_with_checksum,
    strip_bytes_checksum,
    strip_text_checksum,
)

DOCUMENT = {"classes": ["gesund", "Adenom ä"], "path": "k\udcf6rper.png", "value": 0.5}
FIRST = "# sha256 of what follows: %s"
JSON = st.dictionaries(st.text(), st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))


@given(JSON, st.sampled_from(["own_sha256", "sha256"]), st.booleans())
def test_load_with_checksum__returns_the_document(document, entry, ascii_only):
    document.pop(entry, None)
    assert load_with_checksum(dump_with_checksum(document, entry, ascii_only), entry) == document


def test_dump_with_checksum__accepts_invalid_utf8_in_file_names():
    text = dump_with_checksum(DOCUMENT)
    assert load_with_checksum(text) == DOCUMENT
    assert list(json.loads(text))[-1] == "own_sha256"
    assert text.encode()


def test_dump_with_checksum__rejects_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        dump_with_checksum({"value": float("nan")})


@pytest.mark.parametrize("ascii_only", [True, False])
def test_load_with_checksum__detects_every_changed_or_missing_character(ascii_only):
    text = dump_with_checksum({"classes": ["ä", "b"], "value": 0.5}, "sha256", ascii_only)
    for index in range(len(text)):
        for changed in (text[:index] + text[index + 1 :], text[:index] + "~" + text[index + 1 :], text[:index]):
            with pytest.raises(ChecksumError):
                load_with_checksum(changed, "sha256")
    with pytest.raises(ChecksumError):
        load_with_checksum(text, "own_sha256")


def test_load_with_checksum__reads_files_of_earlier_versions():
    result = '{\n  "key": "k\\u00e4",\n  "own_sha256": "%s"\n}\n'
    bundle = '{\n  "name": "kä",\n  "sha256": "%s"\n}\n'
    assert load_with_checksum(result % "aeed6843af7be1ae6d48d887f9208cf937484ad0d0de6a475833eb7e6634d15b") == {
        "key": "kä"
    }
    assert load_with_checksum(
        bundle % "a4fbae6a98d7e4bdca7456f43cc07dd2cd34b6a8933b40c052fbc04477aa480b", "sha256"
    ) == {"name": "kä"}


def test_strip_text_checksum__detects_every_changed_or_missing_character():
    text = add_text_checksum("group,fold\nä,1\n", FIRST)
    assert strip_text_checksum(text, FIRST) == "group,fold\nä,1\n"
    for index in range(len(text)):
        for changed in (text[:index] + text[index + 1 :], text[:index] + "~" + text[index + 1 :], text[:index]):
            with pytest.raises(ChecksumError):
                strip_text_checksum(changed, FIRST)


@given(st.binary(max_size=40), st.data())
def test_strip_bytes_checksum__detects_every_changed_or_missing_byte(content, data):
    with_checksum = add_bytes_checksum(content)
    assert strip_bytes_checksum(with_checksum) == content
    index = data.draw(st.integers(0, len(with_checksum) - 1))
    flipped = bytearray(with_checksum)
    flipped[index] ^= 1 << data.draw(st.integers(0, 7))
    for changed in (bytes(flipped), with_checksum[:index]):
        with pytest.raises(ChecksumError):
            strip_bytes_checksum(changed)
