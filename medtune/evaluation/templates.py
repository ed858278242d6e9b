"""Jinja2 templates of the reports and the model card: `*.html.j2` and `*.md.j2` beside the modules that render them."""

from functools import cache
from typing import Any

import jinja2


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medtune", "."),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": format_value, "interval": format_interval}
    return environment


def render_template(name: str, /, **variables: Any) -> str:
    """Render a template. Values are escaped in HTML and unchanged in Markdown.

    Args:
        name: path of the template in the package, such as `evaluation/baselines.html.j2`. It must be a string literal,
            because `medtune.runtime.source_hash` finds the templates of a cache key by their names in the source.
        variables: variables of the template.

    Returns:
        HTML or Markdown.

    Raises:
        jinja2.UndefinedError: a variable is missing. The message names the variable.
    """
    return _environment().get_template(name).render(variables)


def format_value(value: float | None) -> str:
    """Format a value with three decimals; None becomes a dash."""
    return "–" if value is None else f"{value:.3f}"


def format_interval(lo: float | None, hi: float | None) -> str:
    """Format an interval as `0.712 to 0.846`; a missing interval becomes a dash."""
    return "–" if lo is None or hi is None else f"{format_value(lo)} to {format_value(hi)}"
