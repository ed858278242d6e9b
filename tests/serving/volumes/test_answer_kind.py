import pytest

from medtune.serving.volumes.answer_kind import requested_kind


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "label_map"),
        ("*/*", "label_map"),
        ("application/gzip", "label_map"),
        ("text/html, */*;q=0.8", "label_map"),
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("application/dicom", "dicom_seg"),
        ("application/dicom, */*;q=0.1", "dicom_seg"),
        ("application/json;q=0.5, application/dicom", "dicom_seg"),
        ("application/dicom;q=0.5, application/json;q=0.9", "json"),
        ("application/json, application/dicom", "json"),
        ("application/dicom;q=0", "label_map"),
        ("application/dicom;q=nan, application/json;q=x", "label_map"),
        ("application/dicom+json", "label_map"),
        (",,;q=1,", "label_map"),
    ],
)
def test_requested_kind__is_the_preferred_type(accept, kind):
    assert requested_kind(accept) == kind
