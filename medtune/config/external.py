"""Params for the evaluation of a finished bundle on external data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        label_map: for volumes, class of the bundle by name of the label in the data. Images use `data.label_map`.
        channel_names: for volumes, names that replace the channels of the data; empty to use those of the data.
    """

    data: DataParams
    evaluate: EvaluateParams
    seed: int
    label_map: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()


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
    section = source_params(SOURCE)
    known = section.model_fields
    preprocessing = document["preprocessing"]
    tree: dict[str, Any] = {
        **trained_values(document),
        "data": {
            "source": SOURCE,
            "root": str(path if path.is_dir() else path.parent),
            "csv": None if path.is_dir() else str(path),
            "image_size": preprocessing["image_size"],
            "resize": preprocessing["resize"],
            # Protocol image needs no patients, and nothing is split here.
            "split": {"protocol": "image"},
            **{key: trained["data"][key] for key in LABEL_KEYS if key in known and key in trained.get("data", {})},
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
        trained_data = trained.get("data", {})
        if columns := (trained_data.get("columns") or {}).get("labels"):
            tree["data"] |= {"columns": {"labels": columns}, "label_map": trained_data.get("label_map", {})}
    return validated(tree, read_overrides(sets, FIXED), section)


def trained_values(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seed and the section evaluate, without subgroups, from the training of a bundle."""
    trained = document.get("params") or {}
    evaluate = {
        key: value
        for key, value in trained.get("evaluate", {}).items()
        if key in EvaluateParams.model_fields and key not in ("by", "bins")
    }
    return {"seed": trained.get("seed", 1), "evaluate": evaluate}


def source_params(source: str) -> type[DataParams]:
    """Return the class of section data of a source; raises InputError for an unknown source."""
    section: type[DataParams] = registry.load_plugin("medtune.data.sources", source, "data.source").Params
    return section


def read_overrides(sets: Sequence[str], fixed: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Read the assignments of `--set`.

    Args:
        sets: `key=value` assignments.
        fixed: keys of each section that the bundle or --data decides.

    Returns:
        The values by section.

    Raises:
        InputError: an assignment is invalid or sets a fixed key.
    """
    overlay: dict[str, Any] = {}
    apply_overrides(overlay, sets)
    _check_keys(overlay, fixed)
    return overlay


def validated(
    tree: dict[str, Any],
    overlay: dict[str, Any],
    section: type[DataParams],
) -> ExternalParams:
    """Merge the assignments into the values of the bundle, and validate them.

    Args:
        tree: seed, data and evaluate.
        overlay: result of `read_overrides`.
        section: class of section data.

    Returns:
        The params.

    Raises:
        InputError: a value is invalid.
    """
    merge(tree, overlay)
    data, evaluate = (
        _validate(model, tree[key], key) for key, model in (("data", section), ("evaluate", EvaluateParams))
    )
    return ExternalParams(data, evaluate, tree["seed"])


def _validate(model: Any, values: dict[str, Any], key: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(format_validation_error(error, model, key)) from None


def _check_keys(overlay: Mapping[str, Any], fixed: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError if an assignment sets another section, or a fixed key."""
    for name, section in overlay.items():
        if name not in fixed:
            raise InputError(
                f"--set {name}: has no effect on a finished bundle{suggestion(name, list(fixed))}. Set data.* and "
                "evaluate.* only."
            )
        if not isinstance(section, dict):
            raise InputError(f"--set {name}={section}: write {name}.KEY=VALUE.")
        if fixed_keys := [key for key in section if key in fixed[name]]:
            by_data = fixed_keys[0] in ("csv", "root", "source", "split")
            reason = "--data names the images" if by_data else "the bundle fixes this value"
            raise InputError(f"--set {name}.{fixed_keys[0]}: {reason}. Remove this option.")
