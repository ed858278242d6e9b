"""One cell computed in whatever process it was sent to."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

from medtune.benchmark.grid import Identity
from medtune.benchmark.jobs import Work
from medtune.config.load import validate
from medtune.data.manifest import Prepared, load_prepared
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_class
from medtune.runtime.paths import Paths

# Told of a cell that ended: its record, or what went wrong; gives the line that was said of it.
Told = Callable[[Work, Artifact | None, str | None], str]


def compute(work: dict[str, Any], out: str, cache: str) -> dict[str, str]:
    """The finished record of one cell, as `Artifact.as_dict()`.

    Args:
        work: from `Work.as_dict`.
        out: folder of artifacts/.
        cache: folder of unfinished work and stored features.

    Raises:
        RuntimeError: this process would compute something else than was asked for: other code, versions or device.
    """
    from medtune.benchmark import cell as cells

    cell, params = Identity(**work["cell"]), validate(work["params"])
    folder = Path(work["prepared"])
    prepared = _prepared(folder, _state(folder))
    rates, threads, key = work["rates"], work["threads"], work["key"]
    if cells.key(params, prepared, cell, rates, threads) != key:
        raise RuntimeError(
            f"this worker's code, library versions, data or device ({device_class()}) are not those that asked for the "
            "cell: restart the workers from the same checkout, or set MEDTUNE_DEVICE for both"
        )
    with redirect_stdout(io.StringIO()):  # several cells at once: the one who asked says how far they are
        return cells.run(params, Paths(Path(out), Path(cache)), prepared, cell, rates, threads, key).as_dict()


def compute_here(work: Work, paths: Paths, retries: int, told: Told) -> None:
    """Computes one cell in this process, tried again where it fails."""
    for attempt in range(retries + 1):
        try:
            record = Artifact(**compute(work.as_dict(), str(paths.out), str(paths.cache)))
        except Exception as error:  # reported as this cell's figure; the others go on
            if attempt == retries:
                told(work, None, f"{type(error).__name__}: {error}")
        else:
            told(work, record, None)
            return


@lru_cache(maxsize=4)
def _prepared(folder: Path, state: tuple[tuple[int, int, int], ...]) -> Prepared:
    """The set in `folder`, read and verified once a process for as long as its files stay as they are."""
    return load_prepared(folder)


def _state(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """What changes when one of its files is written or replaced."""
    found = [path.stat() for path in sorted(folder.rglob("*")) if path.is_file()]
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)
