"""Adapt natural-image backbones to medical images with few labels.

    import medtune

    params = medtune.load_params("params.yaml")
    medtune.prepare(params)
    result = medtune.train(params)
    medtune.Bundle.load(result.bundle).predict("scan.png")

docs/api.md describes all names. They are imported on first use.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medtune.api import Evaluation as Evaluation
    from medtune.api import ExportResult as ExportResult
    from medtune.api import PreparedData as PreparedData
    from medtune.api import TrainResult as TrainResult
    from medtune.api import evaluate as evaluate
    from medtune.api import evaluate_bundle as evaluate_bundle
    from medtune.api import export as export
    from medtune.api import load_params as load_params
    from medtune.api import prepare as prepare
    from medtune.api import train as train
    from medtune.config.errors import InputError as InputError
    from medtune.config.errors import RunError as RunError
    from medtune.config.schema import Params as Params
    from medtune.models.attach import attach_cdtm as attach_cdtm
    from medtune.models.attach import inject_peft as inject_peft
    from medtune.models.attach import merge_peft as merge_peft
    from medtune.models.cdtm import CDTM as CDTM
    from medtune.serving.bundle import Bundle as Bundle
    from medtune.serving.prediction import FindingsPrediction as FindingsPrediction
    from medtune.serving.prediction import Prediction as Prediction

_MODULES = {
    "load_params": "medtune.api",
    "prepare": "medtune.api",
    "train": "medtune.api",
    "evaluate": "medtune.api",
    "evaluate_bundle": "medtune.api",
    "export": "medtune.api",
    "PreparedData": "medtune.api",
    "TrainResult": "medtune.api",
    "Evaluation": "medtune.api",
    "ExportResult": "medtune.api",
    "Bundle": "medtune.serving.bundle",
    "FindingsPrediction": "medtune.serving.prediction",
    "Prediction": "medtune.serving.prediction",
    "Params": "medtune.config.schema",
    "InputError": "medtune.config.errors",
    "RunError": "medtune.config.errors",
    "CDTM": "medtune.models.cdtm",
    "attach_cdtm": "medtune.models.attach",
    "inject_peft": "medtune.models.attach",
    "merge_peft": "medtune.models.attach",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'medtune' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


class _CallableModule(ModuleType):
    """Package `medtune.export`, which can also be called as the function `export`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return importlib.import_module("medtune.api").export(*args, **options)


class _Package(ModuleType):
    """Package `medtune`. It keeps `medtune.export` callable when the package of that name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "export" and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
