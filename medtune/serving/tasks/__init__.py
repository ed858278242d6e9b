"""What consumers do with a model's output: one module per task kind, numpy only.

A module here, or `serving.py` in the folder of a task that is not part of the slim installation, has these functions.
`document` is bundle.json, `output` is (N, ...) float32.

    fault(document) -> str | None               the task's first wrong field, with what is expected; None: all are right
    shape(document) -> tuple[int, ...]          shape of one image's output by one network
    decide(output, decision, classes)           the decision (N, ...) as the graph's output `decision` has it; only for
                                                bundles whose graph has one
    columns(document) -> list[str]              columns of the table that `predict` writes, after the path
    rows(output, document) -> list[list]        one list per image with a value (str or float) per column
    entry(row, document) -> dict[str, Any]      one of these lists as JSON for the HTTP service
    prediction(row, document) -> Any            one of these lists as the object that `Bundle.predict` returns
    summary(document) -> str                    the bundle in a few words
"""

import importlib
from importlib.util import find_spec
from types import ModuleType


def find(kind: object) -> ModuleType | None:
    """Module of a task kind; None where this installation does not know it."""
    if not isinstance(kind, str) or not kind.isidentifier():
        return None
    for name in (f"{__name__}.{kind}", f"medtune.tasks.{kind}.serving"):
        try:
            if find_spec(name) is not None:
                return importlib.import_module(name)
        except ModuleNotFoundError:  # there is no medtune.tasks in the slim installation
            continue
    return None
