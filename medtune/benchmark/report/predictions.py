"""A cell's predictions.csv as the statistics behind its metrics."""

from medtune.benchmark.report.records import CellRecord
from medtune.config.errors import InputError
from medtune.tasks import base

PREDICTIONS_FILE = "predictions.csv"


def read_predictions(cell: CellRecord) -> base.StoredPredictions:
    """Read the predictions of a finished cell for the test images.

    Raises:
        InputError: the file is absent or not what a cell writes.
    """
    if cell.folder is None:
        raise ValueError(f"{cell.identity.name} is not done")
    path = cell.folder / PREDICTIONS_FILE
    try:
        return base.evaluation(cell.kind).read_predictions(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} ({cell.identity.name}) cannot be read as predictions: {error}") from error
