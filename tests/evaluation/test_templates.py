import jinja2
import pytest

from medtune.evaluation import templates
from medtune.evaluation.templates import format_interval, format_value, render_template


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.12345, "0.123"), (1, "1.000")])
def test_format_value__three_decimals(value, shown):
    assert format_value(value) == shown


@pytest.mark.parametrize(("lo", "hi", "shown"), [(0.7, 0.8, "0.700 to 0.800"), (None, None, "–")])
def test_format_interval__or_a_dash(lo, hi, shown):
    assert format_interval(lo, hi) == shown


def test_render_template__missing_variable_is_named():
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        render_template("evaluation/metrics_section.html.j2")


@pytest.mark.parametrize(("name", "text"), [("page.html.j2", "a &amp; b &lt;c&gt;"), ("card.md.j2", "a & b <c>")])
def test_render_template__escapes_html_only(monkeypatch, name, text):
    monkeypatch.setattr(templates._environment(), "loader", jinja2.DictLoader({name: "{{ value }}"}))
    assert render_template(name, value="a & b <c>") == text
