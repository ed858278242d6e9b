"""Subgroups of one evaluation in the format of metrics.json."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from medtune.config.schema import EvaluateParams
from medtune.evaluation.metric import Metric
from medtune.evaluation.result import Predictions
from medtune.evaluation.subgroup_columns import SubgroupColumn, subgroup_columns
from medtune.evaluation.subgroups import compare

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def prepared_columns(prepared: "PreparedDataset", options: EvaluateParams) -> list[SubgroupColumn]:
    """Divide the images of the prepared data by each column of `evaluate.by`.

    Args:
        prepared: prepared data.
        options: section `evaluate` of the params.

    Returns:
        One entry per column.

    Raises:
        InputError: see `medtune.evaluation.subgroup_columns.subgroup_columns`.
    """
    if not options.by:
        return []
    return subgroup_columns(options, prepared.metadata_cells, prepared.info.get("allow_values", ()))


def evaluate_subgroups(
    prepared: "PreparedDataset",
    predictions: Predictions,
    metrics: Sequence[Metric],
    class_averages: Collection[str],
    options: EvaluateParams,
    advance: Callable[[float], object] = lambda done: None,
) -> list[dict[str, Any]]:
    """Evaluate the subgroups that `evaluate.by` names.

    Args:
        prepared: prepared data.
        predictions: predictions for some images of `prepared`.
        metrics: metrics of the task.
        class_averages: names of the metrics that average over classes.
        options: section `evaluate` of the params.
        advance: called with the fraction of the work for one column that was done.

    Returns:
        One entry per column, as JSON values.

    Raises:
        InputError: see `medtune.evaluation.subgroup_columns.subgroup_columns`.
    """
    return [
        compare(
            column.name,
            column.values[predictions.rows],
            column.order,
            predictions,
            metrics,
            options,
            prepared.classes,
            class_averages,
            advance,
        ).as_dict()
        for column in prepared_columns(prepared, options)
    ]
