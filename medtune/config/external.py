"""Params for the evaluation of a finished bundle on external data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medtune.config import registry
from medtune.config.data import DataParams
from medtune.config.errors import InputError, suggestion
from medtune.config.load import apply_overrides, merge
from medtune.config.schema import EvaluateParams
from medtune.config.task_labels import MULTI_LABEL
from medtune.config.validation_errors import format_validation_error

SOURCE = "folder"
# Keys that the bundle or --data decides.
FIXED = {
    "data": ("source", "csv", "image_size", "resize", "intensity", "class_names", "label_type", "positive", "split"),
    "evaluate": ("calibration", "threshold"),
}
# Keys that define how labels were read in training.
LABEL_KEYS = ("label_type", "positive", "no_finding", "label_separator")


@dataclass(frozen=True)
class ExternalParams:
    """Params of an external evaluation.

    Attributes:
        data: section data for the external images.
        evaluate: confidence intervals and subgroups.
        seed: random seed.
    """

    data: DataParams
    evaluate: EvaluateParams
    seed: int


def external_params(document: Mapping[str, Any], data: Path, sets: Sequence[str] = ()) -> ExternalParams:
    """Combine bundle.json, the external data and the assignments of `--set` into params.

    Args:
        document: content of bundle.json.
        data: table of labels, or a folder with one folder per class.
        sets: `key=value` assignments of data.* and evaluate.*.

    Returns:
        Validated params. Keys without an assignment keep the values from the training of the bundle.

    Raises:
        InputError: the data do not exist, or an assignment is invalid or sets a key that the bundle decides.
    """
    if not data.exists():
        raise InputError(f"--data={data}: does not exist. Name a table of labels or a folder of class folders.")
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
            # Protocol image needs no patients, and nothing is split here.
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
    if document.get("task", {}).get("kind") == MULTI_LABEL:
        if path.is_dir():
            raise InputError(
                f"--data={data}: this bundle predicts several findings per image, but class folders give one label. "
                "Name the table of findings."
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
    section: type[DataParams] = registry.load_plugin("medtune.data.sources", source, "data.source").Params
    return section


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
            reason = (
                "--data names the images" if fixed[0] in ("csv", "source", "split") else "the bundle fixes this value"
            )
            raise InputError(f"--set {name}.{fixed[0]}: {reason}. Remove this option.")
