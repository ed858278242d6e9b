"""Disks that are full or closed under the small job: nothing finished is lost, and the same command goes on later."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from torture.job import TREE
from torture.outages import disk
from torture.outages.small_job import TRACEBACK, SmallJob, told
from torture.outcome import Outcome
from torture.wrong.expected_errors import Ended

TRAIN = ("train", "--no-prefect")
OTHER = ("--set", "frozen.epochs=3")  # another key of every training step
# The data stage tries the network: a small one, where nothing is trained.
MODEL = {"weights": "none", "backbone_args": {"img_size": 32, "depth": 1}, "head": {"kind": "linear"}}
UNTRAINED = {**TREE, "schedule": "frozen", "model": {**TREE["model"], **MODEL}}
PLACE_WORDS = ("No space left", "Read-only", "File too large", "cannot be written")


def inject(
    folder: Path, what: str, free_kb: list[int] | None = None, limits: list[int] | None = None, trains: bool = True
) -> Outcome:
    """Every fault of one kind, each on the same job; `trains` False: in the data stage alone."""
    outcome, job = Outcome(), SmallJob(folder / "job", TREE if trains else UNTRAINED)
    if not trains:
        if fault := _finish(job, ("data",)):
            outcome.count("the data without faults", fault)
            return outcome
        right = job.content()
        for limit in limits or []:
            name = f"files of at most {limit:,} bytes"
            _data_fault(outcome, job, name, lambda n=limit: disk.short_files(n), right)  # type: ignore[misc]
        return outcome
    fault = _finish(job, ("data",)) or _finish(job, TRAIN)
    if fault:
        outcome.count("the job without faults", fault)
        return outcome
    right, other = job.content(), _other(job)
    if what == "closed":
        _closed(outcome, job, right, other)
    elif what == "short":
        for limit in limits or []:
            _fault(outcome, job, f"files of at most {limit:,} bytes", lambda n=limit: disk.short_files(n), right, other)  # type: ignore[misc]
    else:
        place = job.out if what == "full-out" else job.cache
        with disk.small_disk(place):
            for kb in free_kb or []:
                name = f"{place.name} with {kb:,} KiB free"
                _fault(outcome, job, name, lambda n=kb: disk.filled(place, n), right, other)  # type: ignore[misc]
    return outcome


def _other(job: SmallJob) -> dict[str, str]:
    """What the same job with another key comes to, by a run that nothing disturbs; leaves the first one's in place."""
    fault = _finish(job, (*TRAIN, *OTHER))
    content = job.content()
    return {"fault": fault} if fault else content if not (again := _finish(job, TRAIN)) else {"fault": again}


def _finish(job: SmallJob, words: tuple[str, ...]) -> str | None:
    ended = job.here(*words)
    return None if ended.code == 0 else f"{' '.join(words)} ended with {ended.code}: {ended.err[-400:]}"


def _fault(
    outcome: Outcome,
    job: SmallJob,
    name: str,
    failing: Callable[[], AbstractContextManager[None]],
    right: dict[str, str],
    other: dict[str, str],
) -> None:
    """Trains another key, and prepares other data, while the disk fails; then without the fault; then the first key."""
    _clear_cache(job)
    with failing():
        ended = job.here(*TRAIN, *OTHER)
        kept = job.broken()
    outcome.count(f"train, {name}", _judge(ended) or _lost(kept))
    again = _finish(job, (*TRAIN, *OTHER))
    content = job.content()
    wrong, stray = _differing(content, other), job.stray()
    outcome.count(
        f"train again after {name}",
        again or (f"{wrong[0]} is another" if wrong else None) or (f"{stray[0]} is left" if stray else None),
    )
    _data_fault(outcome, job, name, failing, right, TRAIN)


def _data_fault(
    outcome: Outcome,
    job: SmallJob,
    name: str,
    failing: Callable[[], AbstractContextManager[None]],
    right: dict[str, str],
    *then: tuple[str, ...],
) -> None:
    """Prepares other data while the disk fails; afterwards the first data, and what comes after them, stand again."""
    _clear_cache(job)
    with failing():
        ended = job.here("data", "--set", "data.patients=16")
        kept = job.broken()
    outcome.count(f"data, {name}", _judge(ended) or _lost(kept))
    faults = [_finish(job, words) for words in (("data",), *then)]
    back = next((fault for fault in faults if fault), None)
    content = job.content()
    wrong = _differing(content, right)
    outcome.count(f"the first key after {name}", back or (f"{wrong[0]} is another" if wrong else None))


def _differing(content: dict[str, str], right: dict[str, str]) -> list[str]:
    return sorted(file for file in right.keys() | content.keys() if content.get(file) != right.get(file))


def _judge(ended: Ended) -> str | None:
    """Either it needed no more room than there was, or it said what it lacked."""
    if ended.code == 0:
        return None if TRACEBACK not in ended.err + ended.out else f"a traceback: {ended.err[-300:]}"
    if fault := told(ended):
        return fault
    return None if any(word in ended.err for word in PLACE_WORDS) else f"said {ended.err[-300:]!r}"


def _lost(broken: list[str]) -> str | None:
    return f"{broken[0]} is damaged" if broken else None


def _clear_cache(job: SmallJob) -> None:
    """Without stored features and logits, so that a run must write them."""
    import shutil

    for name in ("features", "logits"):
        shutil.rmtree(job.cache / name, ignore_errors=True)


def _closed(outcome: Outcome, job: SmallJob, right: dict[str, str], other: dict[str, str]) -> None:
    """Folders that may not be written, one at a time."""
    for place in (job.out, job.out / "artifacts", job.out / "artifacts" / "frozen", job.cache, job.cache / "logs",
                  job.cache / "features", job.cache / "logits"):  # fmt: skip
        name = f"{place.relative_to(job.folder)} read-only"
        _fault(outcome, job, name, lambda where=place: disk.read_only(where), right, other)  # type: ignore[misc]
