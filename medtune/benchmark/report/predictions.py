"""Reader of predictions.csv, the test predictions of a trial. The report computes its metrics from this file."""

from medtune.benchmark.report.records import TrialRecord
from medtune.config.errors import InputError
from medtune.evaluation.result import StoredPredictions
from medtune.tasks import base

PREDICTIONS_FILE = "predictions.csv"


def read_predictions(trial: TrialRecord) -> StoredPredictions:
    """Read the test predictions of a finished trial.

    Args:
        trial: record of the trial.

    Returns:
        The test images, and the statistics per patient from which metrics are computed.

    Raises:
        InputError: the file is missing or has another format.
        ValueError: the trial is not finished.
    """
    if trial.folder is None:
        raise ValueError(f"{trial.identity.name} has no predictions, because it is not finished")
    path = trial.folder / PREDICTIONS_FILE
    try:
        return base.evaluation(trial.kind).read_predictions(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} ({trial.identity.name}) cannot be read as predictions: {error}. Run the trial again with --fresh"
        ) from error
