"""Interpretation of the outputs of a model, with one module per kind of task. Needs only NumPy.

A module is in this package. If the installation contains torch, it may also be the module `serving` of a task in
medtune/tasks. A module defines the following functions. `document` is the content of bundle.json, and `output` is the
output of the model, float32 (N, ...):

    validate(document) -> str | None            message about the first invalid field of the task, or None
    shape(document) -> tuple[int, ...]          shape of the output of one network for one image
    decide(output, decision, classes)           decision (N, ...), equal to the output `decision` of the graph; only
                                                for bundles whose graph has this output
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
