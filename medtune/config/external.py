"""Params for the evaluation of a finished bundle on external data: what the bundle leaves open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medtune.config import registry
from medtune.config.data import DataParams
from medtune.config.errors import InputError, format_validation_error, suggestion
from medtune.config.load import apply_overrides, merge
from medtune.config.schema import EvaluateParams
from medtune.config.task_labels import SEVERAL

SOURCE = "folder"
# What these keys decide was decided when the bundle was trained, or by --data.
FIXED = {
    "data": ("source", "csv", "image_size", "resize", "intensity", "class_names", "label_type", "positive", "split"),
    "evaluate": ("calibration", "threshold"),
}
# How the bundle's training read labels.
LABEL_KEYS = ("label_type", "positive", "no_finding", "label_separator")


@dataclass(frozen=True)
class ExternalParams:
    """Params of an external evaluation.

    Attributes:
        data: how the external data are read.
        evaluate: intervals and subgroups.
        seed: of random choices.
    """

    data: DataParams
    evaluate: EvaluateParams
    seed: int


def external_params(document: Mapping[str, Any], data: Path, sets: Sequence[str] = ()) -> ExternalParams:
    """Build the params from a bundle's bundle.json, the external data and the user's `--set`.

    Args:
        document: bundle.json.
        data: a table of labels, or a folder with a folder per class.
        sets: `key=value` assignments of data.* and evaluate.*.

    Raises:
        InputError: the data do not exist, or an assignment is wrong or names what the bundle decides.
    """
    if not data.exists():
        raise InputError(f"--data={data}: does not exist. Name a table of labels, or a folder with a folder per class.")
    path, trained = data.resolve(), document.get("params") or {}
    section = _section(SOURCE)
    known = section.model_fields
    fit = document["preprocessing"]
    tree: dict[str, Any] = {
        "seed": trained.get("seed", 1),
        "data": {
            "source": SOURCE,
            "root": str(path if path.is_dir() else path.parent),
            "csv": None if path.is_dir() else str(path),
            "image_size": fit["image_size"],
            "resize": fit["resize"],
            # Folds of images need no patients; nothing is split here.
            "split": {"protocol": "image"},
            **{key: trained["data"][key] for key in LABEL_KEYS if key in known and key in trained.get("data", {})},
        },
        "evaluate": {
            key: value
            for key, value in trained.get("evaluate", {}).items()
            if key in EvaluateParams.model_fields and key not in ("by", "bins")
        },
    }
    classes = document.get("classes", [])
    if "positive" in known and len(classes) == 2:
        tree["data"]["positive"] = classes[1]
    if document.get("task", {}).get("kind") == SEVERAL:
        if path.is_dir():
            raise InputError(
                f"--data={data}: this bundle tells several findings per image, which class folders cannot. Name the "
                "table that lists them."
            )
        tree["data"]["label_type"] = "multi"
        read = trained.get("data", {})
        if columns := (read.get("columns") or {}).get("labels"):
            tree["data"] |= {"columns": {"labels": columns}, "label_map": read.get("label_map", {})}
    overlay: dict[str, Any] = {}
    apply_overrides(overlay, sets)
    _check_keys(overlay)
    merge(tree, overlay)
    return ExternalParams(
        _validate(section, tree["data"], "data"), _validate(EvaluateParams, tree["evaluate"], "evaluate"), tree["seed"]
    )


def _section(source: str) -> type[DataParams]:
    return registry.load_plugin("medtune.data.sources", source, "data.source").Params


def _validate(model: Any, values: dict[str, Any], key: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(format_validation_error(error, model, key)) from None


def _check_keys(overlay: Mapping[str, Any]) -> None:
    for name, section in overlay.items():
        if name not in FIXED:
            raise InputError(
                f"--set {name}: has no effect on a finished bundle{suggestion(name, list(FIXED))}. Set data.* and "
                "evaluate.* only."
            )
        if not isinstance(section, dict):
            raise InputError(f"--set {name}={section}: write {name}.KEY=VALUE.")
        if fixed := [key for key in section if key in FIXED[name]]:
            by = "--data names the images" if fixed[0] in ("csv", "source", "split") else "the bundle decides it"
            raise InputError(f"--set {name}.{fixed[0]}: {by}. Remove it.")
