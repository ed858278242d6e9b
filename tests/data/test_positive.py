from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config import registry
from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.config.load import load, yaml_loader
from medtune.data.positive import find_positive, order_classes
from medtune.data.sources import breakhis, medmnist
from medtune.runtime.cache_key import data_key

SILENT = ModuleType("silent")
NAMES = st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True)


def params(positive: str | None = None) -> DataParams:
    return DataParams(source="folder", positive=positive)


@pytest.mark.parametrize(
    ("classes", "positive", "message"),
    [
        (["cancer", "normal"], None, "cancer and normal, .*--set data.positive=cancer or --set data.positive=normal"),
        (["no finding", "1"], None, r"--set 'data.positive=\"no finding\"' or --set 'data.positive=\"1\"'"),
        (["cancer", "normal"], "Cancer", r"no such class \(did you mean 'cancer'\?\). Choose one of: cancer, normal"),
        (["cancer", "normal"], "benign", "data.positive=benign: no such class. Choose one of: cancer, normal"),
        (["a", "b", "c"], "a", "the data set has 3 classes .*only a set with two classes has a positive class"),
    ],
)  # fmt: skip
def test_find_positive__invalid_values_are_an_error(classes, positive, message):
    with pytest.raises(InputError, match=message) as error:
        find_positive(classes, params(positive), SILENT)
    assert "\n" not in str(error.value)


def test_find_positive__needs_two_classes():
    assert find_positive(["a", "b", "c"], params(), SILENT) is None
    assert find_positive(["a"], params("a"), SILENT) is None


@given(NAMES, st.booleans())
def test_order_classes__positive_is_last(classes, second):
    positive = find_positive(classes, params(classes[second]), SILENT)
    assert order_classes(classes, positive) == (classes[1 - second], classes[second])


@given(st.lists(st.text(), unique=True))
def test_order_classes__unchanged_without_a_positive_class(classes):
    assert order_classes(classes, None) == tuple(classes)


@pytest.mark.parametrize("source", registry.load_all("medtune.data.sources"), ids=lambda source: source.NAME)
def test_positive_class__is_declared_by_every_binary_source(source):
    options = source.Params(source=source.__name__.rpartition(".")[2])
    classes = source.classes(options)
    declared = source.positive_class(options) if hasattr(source, "positive_class") else None
    assert declared in classes if len(classes) == 2 else declared is None


def test_positive_class__params_override_the_source():
    classes = ("malignant", "normal or benign")
    subset = medmnist.Params(subset="breastmnist")
    assert find_positive(classes, subset, medmnist) == "malignant"
    options = subset.model_copy(update={"positive": "normal or benign"})
    assert find_positive(classes, options, medmnist) == "normal or benign"
    assert breakhis.positive_class(breakhis.Params(labels="malignant4")) is None


def test_data_key__does_not_depend_on_naming_the_declared_class():
    keys = {
        positive: data_key(load(sets=["data.source=breakhis", f"data.positive={positive}"]))
        for positive in ("null", "malignant", "benign")
    }
    assert keys["null"] == keys["malignant"] != keys["benign"]


@pytest.mark.parametrize(("text", "name"), [("1", "1"), ("yes", "yes"), ("'no'", "no"), ("null", None)])
def test_positive__may_have_any_yaml_type(text, name):
    assert DataParams(source="folder", positive=yaml_loader().load(f"positive: {text}")["positive"]).positive == name
