"""Prepared set of a run. Its files are verified once per process, and again only if they change."""

from functools import lru_cache
from pathlib import Path

from medtune.data.manifest import PreparedDataset, load_prepared
from medtune.data.subset import subset_patients
from medtune.runtime.file_state import State, folder_state
from medtune.runtime.paths import RunPaths, TrainSubset


def open_prepared(paths: RunPaths) -> PreparedDataset:
    """Return the verified set at `paths.prepared`. If `paths.subset` is set, reduce the training patients.

    Args:
        paths: paths of the run.

    Returns:
        The prepared set.

    Raises:
        InputError: the set is absent, incomplete or damaged.
    """
    return _open(paths.prepared, folder_state(paths.prepared), paths.subset)


@lru_cache(maxsize=8)
def _open(folder: Path, state: tuple[State, ...], subset: TrainSubset | None) -> PreparedDataset:
    """Load a set and reduce the training patients of every fold. Files with a new `state` are read again."""
    if subset is None:
        return load_prepared(folder)
    prepared = _open(folder, state, None)
    for fold in range(prepared.splits.shape[1]):
        if len(prepared.indices(fold)["train"]):
            prepared = subset_patients(prepared, fold, subset)
    return prepared
