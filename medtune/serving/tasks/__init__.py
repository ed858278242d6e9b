"""Interpretation of model outputs, with one module per kind of task. Needs NumPy only.

The module of a task is in this package. Tasks that are not part of the slim installation (without torch) have a
`serving.py` in their own folder in medtune/tasks. A module defines the following functions, where `document` is the
content of bundle.json and `output` is float32 (N, ...):

    validate(document) -> str | None            first invalid field of the task and the expected value, or None
    shape(document) -> tuple[int, ...]          shape of one network's output for one image
    decide(output, decision, classes)           decision (N, ...) like the graph's output `decision`; only for bundles
                                                whose graph has this output
    columns(document) -> list[str]              columns of the table that `predict` writes, without the path
    rows(output, document) -> list[list]        one list per image, with one value (str or float) per column
    entry(row, document) -> dict[str, Any]      a row as JSON for the HTTP service
    prediction(row, document) -> Any            a row as the object that `Bundle.predict` returns
    summary(document) -> str                    short description of the bundle
"""

import importlib
from importlib.util import find_spec
from types import ModuleType


def find(kind: object) -> ModuleType | None:
    """Return the module of a kind of task, or None if this installation does not know it."""
    if not isinstance(kind, str) or not kind.isidentifier():
        return None
    for name in (f"{__name__}.{kind}", f"medtune.tasks.{kind}.serving"):
        try:
            if find_spec(name) is not None:
                return importlib.import_module(name)
        except ModuleNotFoundError:  # the slim installation has no medtune.tasks
            continue
    return None
