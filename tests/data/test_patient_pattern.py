"""Patients from a pattern in the path, with a table that may also name patients."""

import pytest

from medtune.config.errors import InputError
from medtune.data.sources import folder

IMAGES = ("a_p1_1.png", "a_p1_2.png", "b_p2_1.png", "b_p2_2.png")


@pytest.fixture
def read(tmp_path):
    def patients(header: str, *cells: str, pattern: str = r"(p\d)_"):
        for name in IMAGES:
            (tmp_path / name).touch()
        rows = [f"{name},{name[0]},{cell}" for name, cell in zip(IMAGES, cells, strict=True)]
        (tmp_path / "t.csv").write_text("\n".join([f"path,label,{header}", *rows]))
        samples = folder.list_samples(tmp_path, folder.Params(csv="t.csv", patient_pattern=pattern))
        return [sample.patient_id for sample in samples]

    return patients


def test_pattern__may_be_combined_with_other_columns(read):
    assert read("age", "40", "40", "51", "51") == ["p1", "p1", "p2", "p2"]


def test_pattern__conflicts_with_a_patient_column(read):
    with pytest.raises(InputError, match=r"t\.csv already names the patients\. Use the table with --set data"):
        read("patient", "x", "x", "y", "y")


def test_pattern__must_not_divide_a_patient_of_another_column(read):
    with pytest.raises(
        InputError, match=r"divides 2 patients in the column Case of t\.csv into several, for example 'x'"
    ):
        read("Case", "x", "y", "x", "y")


def test_pattern__may_be_coarser_than_another_column(read):
    assert read("slide", "s1", "s2", "s3", "s4") == ["p1", "p1", "p2", "p2"]
    assert read("case", "NA", "s2", "NA", "s4") == ["p1", "p1", "p2", "p2"]
