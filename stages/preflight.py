"""What must hold before a stage begins: the data made with these params, and settings that fit it."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medtune.config.errors import InputError
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
    """The prepared data, after every check that needs no torch.

    Args:
        params: all params.
        paths: where the data lie.
        several: whether this stage may run as several processes.

    Raises:
        InputError: not prepared, damaged, or prepared with other `data` params; a class weight for a class that
            is not there; a device that is none, or a precision it lacks; launched as more processes than it can be.
    """
    from medtune.data.prepared import open_prepared
    from medtune.stages import launch

    if distributed.world_size() > 1 and not several:
        raise InputError(
            f"WORLD_SIZE is {distributed.world_size()}: only `medtune stage` runs as several processes. "
            "Start this command without the launcher"
        )
    check_device()
    launch.check_launch(params, "finetune" in params.training_stages)
    prepared = open_prepared(paths)
    if read_result(paths.prepared)["key"] != data_key(params):
        check_table(params)
        raise InputError(f"{paths.prepared} was made with other data params or code: run `medtune data` first")
    try:
        check_subgroups(params, prepared.metadata_cells)
    except InputError as error:
        stale = " If the table has changed since, run `medtune data` first." if getattr(params.data, "csv", "") else ""
        raise InputError(f"{error}{stale}") from None
    _check_threshold(params, prepared.classes)
    for section in params.training_stages:
        chosen = getattr(params, section)
        named = chosen.class_weights if isinstance(chosen.class_weights, dict) else {}
        if unknown := sorted(named.keys() - set(prepared.classes)):
            classes = list_names(prepared.classes)
            raise InputError(f"{section}.class_weights: no class {unknown[0]!r}; classes: {classes}")
        if chosen.precision == "fp16" and device_class() == "cpu":
            raise InputError(f"{section}.precision is fp16, which needs a GPU; on a CPU choose auto, fp32 or bf16")
    return prepared


def _check_threshold(params: Params, classes: Sequence[str]) -> None:
    criterion = params.evaluate.threshold_criterion
    if isinstance(criterion, str) or len(classes) == 2 or not base.targets(params.task.kind).HAS_POSITIVE:
        return
    ((name, rate),) = criterion.items()
    raise InputError(
        f"evaluate.threshold={{{name}: {rate:g}}}: there are {len(classes)} classes, and only two have a threshold. "
        "Use evaluate.threshold=balanced_accuracy"
    )


def check_subgroups(params: Params, columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse subgroups that cannot be made, before images are decoded or a network is trained.

    Args:
        params: all params.
        columns: metadata of each image by column.

    Raises:
        InputError: `evaluate.by` or `evaluate.bins` do not fit the columns.
    """
    refuse_subgroups(params.evaluate, columns, params.data.allow_values)


def refuse_subgroups(options: EvaluateParams, columns: Mapping[str, Sequence[str]], allowed: Sequence[str]) -> None:
    """As `check_subgroups`, for section evaluate and `data.allow_values` alone."""
    if options.by:
        from medtune.evaluation.subgroup_columns import subgroup_columns

        subgroup_columns(options, columns, allowed)


def check_table(params: Params) -> None:
    """Refuse a wrong table where the images must be prepared from it anyway: that says more than "run medtune data".

    Raises:
        InputError: as `medtune.data.source_listing.list_source` says.
    """
    if getattr(params.data, "csv", None) is not None:
        from medtune.data.source_listing import list_source

        with contextlib.redirect_stdout(io.StringIO()):  # notes belong to the command that prepares
            list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)


def check_model(params: Params, paths: RunPaths) -> None:
    """Refuse weights, a backbone or settings that would fail later, before images are decoded for them.

    Imports torch, so it is passed over where the data stand ready for these params: training checks then.
    """
    try:
        known = read_result(paths.prepared)["key"] == data_key(params)
    except (OSError, ValueError, KeyError):
        known = False
    if not known:
        from medtune.stages.dry_run import check_network

        check_network(params, paths)
