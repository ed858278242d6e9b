"""Source `folder`: several findings per image."""

import pytest
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.data.sources import folder
from tests.data.sources.folder_params import params, read


@pytest.fixture
def images(tmp_path):
    """Write six images of three patients, without a table."""
    for name in ("1.png", "2.png", "3.png", "deep/4.png", "deep/5.png", "6.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def findings_params(root, text, **options):
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return params(csv="labels.csv", label_type="multi", **options)


def test_findings__one_column_per_finding(images):
    options = findings_params(images, "path,Mass,Edema\n1.png,1,1\n2.png,0,0\n", columns={"labels": ["edema", "mass"]})
    assert [sample.findings for sample in read(images, options)] == [("edema", "mass"), ()]
    assert folder.classes(options) == ("edema", "mass")
    assert folder.metadata(options) == {"label_type": "multi", "no_finding": "No Finding"}


def test_findings__in_one_cell(images):
    options = findings_params(images, "path,label\n1.png,Mass|Edema\n2.png,No Finding\n", label_map={"Edema": "edema"})
    assert [sample.findings for sample in read(images, options)] == [("Mass", "edema"), ()]


def test_findings__label_map_merges_columns(images):
    options = findings_params(
        images,
        "path,left,right\n1.png,1,1\n2.png,0,0\n",
        columns={"labels": ["left", "right"]},
        label_map={"left": "mass", "right": "mass"},
    )
    assert folder.classes(options) == ("mass",)
    assert [sample.findings for sample in read(images, options)] == [("mass",), ()]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"labels": ["mass", "hernia"]}, r"data.columns.labels: labels.csv has no column hernia; found path, mass"),
        ({"labels": ["mass", "path"]}, r"data.columns.labels: column path of labels.csv is the path or the patient"),
    ],
)
def test_findings__invalid_columns_are_an_error(images, columns, message):
    with pytest.raises(InputError, match=message):
        read(images, findings_params(images, "path,mass\n1.png,1\n2.png,0\n", columns=columns))


def test_findings__similar_spellings_are_an_error(images):
    with pytest.raises(InputError, match=r"labels 'Mass' .* and 'mass' .* differ only in case"):
        read(images, findings_params(images, "path,label\n1.png,Mass|Edema\n2.png,mass\n"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_type": "multi"}, "needs a table that lists the findings"),
        ({"csv": "a.csv", "columns": {"labels": ["a"]}}, "label_type=nominal allows one label per image"),
        ({"csv": "a.csv", "label_type": "multi", "columns": {"labels": ["a"], "label": "b"}}, "Remove one of the two"),
        ({"csv": "a.csv", "label_type": "multi", "columns": {"labels": ["a", "a"]}}, "Name each column once"),
    ],
)
def test_params__rejects_contradictory_settings(options, message):
    with pytest.raises(ValidationError, match=message):
        params(**options)
