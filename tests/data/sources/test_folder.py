import pytest
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.data.sample_checks import check_samples
from medtune.data.sources import folder


def params(**more):
    return folder.Params(root="x", **more)


@pytest.fixture
def root(tmp_path):
    for name in ("cat/P1_1.png", "cat/deep/P2_1.png", "dog/P3_1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(root, chosen):
    """Samples as stage data reads them."""
    return check_samples(folder.list_samples(root, chosen), chosen, folder.classes(chosen)).samples


def table(root, text):
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return params(csv="labels.csv")


def test_records__class_folders(root):
    found = folder.list_samples(root, params())
    assert [(record.path, record.label, record.patient_id) for record in found] == [
        ("cat/P1_1.png", "cat", None), ("cat/deep/P2_1.png", "cat", None), ("dog/P3_1.png", "dog", None),
    ]  # fmt: skip


def test_records__patient_from_the_path(root):
    assert [record.patient_id for record in folder.list_samples(root, params(group_pattern=r"(P\d+)_"))] == [
        "P1",
        "P2",
        "P3",
    ]
    with pytest.raises(InputError, match="finds no patient"):
        folder.list_samples(root, params(group_pattern=r"(Q\d+)_"))


@pytest.mark.parametrize("pattern", ["(", "P[0-9]+"])
def test_params__pattern_must_name_a_group(pattern):
    with pytest.raises(ValidationError):
        params(group_pattern=pattern)


def test_records__class_names(root):
    assert folder.classes(params(class_names=["dog", "cat"])) == ("dog", "cat")
    with pytest.raises(InputError, match=r"'dog' is not in data\.class_names"):
        read(root, params(class_names=["cat", "cow"]))
    with pytest.raises(ValidationError):
        params(class_names=["cat", "cat"])


def test_records__image_beside_the_class_folders(root):
    (root / "stray.png").touch()
    with pytest.raises(InputError, match=r"stray\.png lies in no class folder"):
        folder.list_samples(root, params())


def test_records__table_with_own_columns(root):
    chosen = table(root, "\ufeffpath,label,group,age\ndog/P3_1.png,dog,P3,7\ncat/P1_1.png, cat ,P1,\n")
    first, second = folder.list_samples(root, chosen)
    assert (first.path, first.label, first.patient_id, first.metadata) == ("cat/P1_1.png", "cat", "P1", {"age": ""})
    assert second.metadata == {"age": "7"}
    assert folder.inputs(root, chosen) == [root / "labels.csv"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\na.png,\n", "line 2: label is ''"),
        ("path,label\ncat/P1_1.png,NaN\n", "line 2: label is 'NaN'"),
        ("path,label\na.png,  \n", "line 2: label is '  '"),
        ("path,label\n,cat\n", "line 2: path is ''"),
        ("path,label,group\na.png,cat,\n", "line 2: group is ''"),
        ("path,label\na.png\n", "line 2: expected 2 fields"),
        ("path,label\na.png,cat,more\n", "line 2: expected 2 fields"),
        ("path,class\na.png,cat\n", "no column label; found path, class"),
        ("path,label\n../a.png,cat\n", "leads out of data.root"),
        ("path,label\n/etc/a.png,cat\n", "leads out of data.root"),
        ("path,label\na.png,cat\na.png,dog\n", r"a\.png is listed twice"),
        ('path,label\na.png,"cat\n', "not a CSV"),
        ("path,label\n", "no images"),
        ("", "no column path and no label"),
    ],
)
def test_records__table_refused(root, text, reason):
    with pytest.raises(InputError, match=reason):
        read(root, table(root, text))


def test_records__missing_table(root):
    with pytest.raises(InputError, match=r"other\.csv does not exist"):
        folder.list_samples(root, params(csv="other.csv"))


def test_records__nothing_there(tmp_path):
    with pytest.raises(InputError, match="no images"):
        folder.list_samples(tmp_path, params())


def test_records__an_empty_class_folder_is_named(root):
    (root / "fish").mkdir()
    with pytest.raises(InputError, match=r"class folder .*fish holds no images"):
        folder.list_samples(root, params())


def test_records__a_table_without_patients_says_so(root, capsys):
    folder.list_samples(root, table(root, "path,label,patient\ncat/P1_1.png,cat,P1\n"))
    assert "no column group, so no patients are known; found path, label, patient" in capsys.readouterr().out
