import json

import pytest

from medtune.serving.manifest import BundleError
from medtune.serving.volumes.dicom_codes import EXAMPLE, TISSUE, SegmentCodes, read_codes


def test_read__labels_without_codes_are_tissue(tmp_path):
    assert read_codes(None, ["liver", "tumor"]) == [SegmentCodes(TISSUE, TISSUE)] * 2
    (tmp_path / "codes.json").write_text(EXAMPLE)
    liver, tumor = read_codes(tmp_path / "codes.json", ["liver", "tumor"])
    assert liver == SegmentCodes(("91723000", "SCT", "Anatomical Structure"), ("10200004", "SCT", "Liver"))
    assert tumor == SegmentCodes()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected an object with an entry per label"),
        ({"lung": {}}, "'lung' is not a label of the bundle. Use liver"),
        ({"liver": {"kind": []}}, "liver needs the entries category and type"),
        ({"liver": ["1", "SCT", "Liver"]}, "liver needs the entries category and type"),
        ({"liver": {"type": ["1", "SCT"]}}, r"liver.type is \['1', 'SCT'\]; expected value, coding scheme and meaning"),
        ({"liver": {"type": ["1", "SCT", "a\\b"]}}, "liver.type is"),
        ({"liver": {"type": ["1" * 17, "SCT", "Liver"]}}, "liver.type is"),
        ({"liver": {"type": [1, "SCT", "Liver"]}}, "liver.type is"),
    ],
)
def test_read__invalid_entries_are_named(tmp_path, document, message):
    (tmp_path / "codes.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=message) as caught:
        read_codes(tmp_path / "codes.json", ["liver"])
    assert len(str(caught.value).splitlines()) == 1


def test_example__has_the_codes_of_the_standard():
    codes = pytest.importorskip("pydicom.sr.codedict", reason="pydicom is not installed").codes
    liver = json.loads(EXAMPLE)["liver"]
    for term, expected in (
        (liver["category"], codes.cid7150.AnatomicalStructure),
        (liver["type"], codes.SCT.Liver),
        (TISSUE, codes.SCT.Tissue),
    ):
        assert tuple(term) == (expected.value, expected.scheme_designator, expected.meaning)
