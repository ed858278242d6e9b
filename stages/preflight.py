"""Checks before a stage starts: prepared data, device and params."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medtune.config.errors import InputError, suggestion
from medtune.config.schema import EvaluateParams, Params
from medtune.data.class_selection import list_names
from medtune.runtime import distributed
from medtune.runtime.artifact import read_result
from medtune.runtime.cache_key import data_key
from medtune.runtime.device import check_device, device_class
from medtune.runtime.paths import RunPaths
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def run_preflight(params: Params, paths: RunPaths, several: bool = False) -> "PreparedDataset":
    """Run all checks that do not need torch, and open the prepared data.

    Args:
        params: all params.
        paths: where the data is.
        several: True if the stage supports several processes.

    Returns:
        The prepared data.

    Raises:
        InputError: the data is missing, damaged, or prepared with other `data` params. A param does not match the
            classes or columns of the data. The device or the precision is not available. The stage does not support
            several processes.
    """
    from medtune.data.prepared import open_prepared
    from medtune.stages import launch

    if distributed.world_size() > 1 and not several:
        raise InputError(
            f"WORLD_SIZE={distributed.world_size()}: only `medtune stage` supports several processes. "
            "Start this command without torchrun or accelerate"
        )
    check_device()
    launch.check_launch(params, "finetune" in params.training_stages)
    prepared = open_prepared(paths)
    if read_result(paths.prepared)["key"] != data_key(params):
        check_table(params)
        raise InputError(
            f"{paths.prepared} was prepared with other data params or code. Run `medtune data` with the same params"
        )
    try:
        check_subgroups(params, prepared.metadata_cells)
    except InputError as error:
        hint = " If the table has changed, run `medtune data` first." if getattr(params.data, "csv", "") else ""
        raise InputError(f"{error}{hint}") from None
    _check_threshold(params, prepared.classes)
    _check_tolerance(params, prepared.classes)
    for section in params.training_stages:
        stage = getattr(params, section)
        class_weights = stage.class_weights if isinstance(stage.class_weights, dict) else {}
        if unknown := sorted(class_weights.keys() - set(prepared.classes)):
            classes = list_names(prepared.classes)
            raise InputError(f"{section}.class_weights: unknown class {unknown[0]!r}. The classes are {classes}")
        if stage.precision == "fp16" and device_class() == "cpu":
            raise InputError(f"{section}.precision=fp16: needs a GPU. On a CPU use auto, fp32 or bf16")
    return prepared


def _check_threshold(params: Params, classes: Sequence[str]) -> None:
    """Raise InputError if `evaluate.threshold` needs two classes, but the data has another number of classes."""
    criterion = params.evaluate.threshold_criterion
    if isinstance(criterion, str) or len(classes) == 2 or not base.targets(params.task.kind).HAS_POSITIVE:
        return
    ((name, rate),) = criterion.items()
    raise InputError(
        f"evaluate.threshold={{{name}: {rate:g}}}: a threshold needs two classes, but there are {len(classes)}. "
        "Use evaluate.threshold=balanced_accuracy"
    )


def _check_tolerance(params: Params, labels: Sequence[str]) -> None:
    """Raise InputError if tolerances per label do not match the labels of the data."""
    tolerance = getattr(params.task, "tolerance_mm", None)
    if not isinstance(tolerance, dict) or tolerance.keys() == set(labels):
        return
    if unknown := sorted(tolerance.keys() - set(labels)):
        raise InputError(
            f"task.tolerance_mm: unknown label {unknown[0]!r}{suggestion(unknown[0], list(labels))}. "
            f"The labels are {list_names(labels)}"
        )
    missing = next(name for name in labels if name not in tolerance)
    raise InputError(f"task.tolerance_mm: no tolerance for the label {missing!r}. Add it, or set one number for all")


def check_subgroups(params: Params, columns: Mapping[str, Sequence[str]]) -> None:
    """Check the subgroups before images are decoded or a network is trained.

    Args:
        params: all params.
        columns: metadata of the images, by name of the column.

    Raises:
        InputError: `evaluate.by` or `evaluate.bins` does not match the columns.
    """
    refuse_subgroups(params.evaluate, columns, params.data.allow_values)


def refuse_subgroups(options: EvaluateParams, columns: Mapping[str, Sequence[str]], allowed: Sequence[str]) -> None:
    """Check the subgroups as `check_subgroups` does, without the complete params.

    Args:
        options: section evaluate of the params.
        columns: metadata of the images, by name of the column.
        allowed: values that `data.allow_values` allows.

    Raises:
        InputError: `evaluate.by` or `evaluate.bins` does not match the columns.
    """
    if options.by:
        from medtune.evaluation.subgroup_columns import subgroup_columns

        subgroup_columns(options, columns, allowed)


def check_table(params: Params) -> None:
    """Check the label table `data.csv`, if there is one.

    Call this function before an error message recommends `medtune data`, which fails if the table is invalid.

    Args:
        params: all params.

    Raises:
        InputError: the table is invalid (see `medtune.data.source_listing.list_source`).
    """
    if getattr(params.data, "csv", None) is not None:
        from medtune.data.source_listing import list_source

        with contextlib.redirect_stdout(io.StringIO()):  # only `medtune data` prints these notes
            list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)


def check_model(params: Params, paths: RunPaths) -> None:
    """Check the network before images are decoded. The check imports torch.

    If the data is already prepared, nothing is checked, because training starts with the same check.

    Args:
        params: all params.
        paths: where the data is.

    Raises:
        InputError: the weights, the backbone or the settings are invalid.
    """
    try:
        is_prepared = read_result(paths.prepared)["key"] == data_key(params)
    except (OSError, ValueError, KeyError):
        is_prepared = False
    if not is_prepared:
        from medtune.stages.dry_run import check_network

        check_network(params, paths)
