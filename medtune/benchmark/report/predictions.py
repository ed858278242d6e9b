"""A trial's predictions.csv as the statistics behind its metrics."""

from medtune.benchmark.report.records import TrialRecord
from medtune.config.errors import InputError
from medtune.tasks import base

PREDICTIONS_FILE = "predictions.csv"


def read_predictions(trial: TrialRecord) -> base.StoredPredictions:
    """Read the predictions of a finished trial for the test images.

    Raises:
        InputError: the file is absent or not what a trial writes.
    """
    if trial.folder is None:
        raise ValueError(f"{trial.identity.name} is not done")
    path = trial.folder / PREDICTIONS_FILE
    try:
        return base.evaluation(trial.kind).read_predictions(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} ({trial.identity.name}) cannot be read as predictions: {error}") from error
