import re

import jinja2
import pytest

from medtune.config.project import PACKAGE
from medtune.export.model_card import _most_frequent, _number

TEMPLATE = (PACKAGE / "export" / "model_card.md.j2").read_text(encoding="utf-8")
DATA_SECTION = re.search(r"\{% if exported.final == .single. -%\}.*?(?=\n- License)", TEMPLATE, re.DOTALL).group()
CONTROLS = re.search(r"\{%- for control in.*?(?=\{% if metrics.baseline_verdict)", TEMPLATE, re.DOTALL).group()
MACROS = TEMPLATE[: TEMPLATE.index("# {{ name }}")]


@pytest.mark.parametrize("final", ["single", "ensemble"])
@pytest.mark.parametrize(("classes", "rows"), [(2, 2), (30, 30), (1000, 30)])
def test_card__limits_the_table_of_classes(classes, rows, final):
    counts = {f"class {k}": {"all": k, "train": k, "val": 0, "test": 0} for k in range(classes)}
    most_frequent = _most_frequent(counts)
    text = jinja2.Template(DATA_SECTION).render(
        data={"counts": counts}, shown_counts=most_frequent, exported={"final": final}
    )
    assert text.count("| class ") == rows + 1
    assert f"class {classes - 1} |" in text
    assert ("30 most frequent of 1000 classes" in text) == (classes > 30)
    assert ("| train |" in text) == (final == "single")
    assert "|\n\n|" not in text


def test_card__states_the_reason_for_a_missing_interval():
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    values = {
        "specificity": {
            "value": 0.5,
            "lo": None,
            "hi": None,
            "reason": "the metric depends on 3 patients, but its interval needs 4",
        },
        "accuracy": {"value": 0.8, "lo": 0.7, "hi": 0.9},
    }
    text = environment.from_string(MACROS + "{{ metric_table(values) }}").render(values=values, number=_number)
    assert (
        "| specificity | 0.500 | no interval: the metric depends on 3 patients, but its interval needs 4 |  |" in text
    )
    assert "| accuracy | 0.800 | 0.700 | 0.900 |" in text


def test_card__has_a_row_and_a_sentence_per_control():
    interval = {"value": 0.5, "lo": 0.4, "hi": 0.6}
    trained = {
        "title": "decoder alone",
        "trained": True,
        "test": {"dice": interval},
        "difference": {"dice": {"value": 0.01, "lo": -0.1, "hi": 0.1}},
        "training": {"control": {"parameters": 12345, "steps": 9, "seconds": 61.7}},
        "sentence": "The backbone adds nothing that this test set can show: ...",
    }
    absent = {"title": "same network", "trained": False, "absence": "not trained (task.controls)"}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(MACROS + CONTROLS).render(
        metrics={"controls": [trained, absent]}, headline=["dice", "nsd"], number=_number
    )
    lines = [line for line in text.splitlines() if line]
    assert lines[3:] == [
        "| decoder alone | dice | 0.500 | 0.010 | -0.100 | 0.100 | 12,345 | 62 s |",
        "| same network | not trained (task.controls) | | | | | | |",
        "The backbone adds nothing that this test set can show: ....",
    ]
    assert "|\n\n|" not in text
    assert environment.from_string(MACROS + CONTROLS).render(metrics={}).strip() == ""
