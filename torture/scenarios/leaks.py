"""One patient, or one picture, on both sides of a split: prevented, refused or reported, under every protocol.

Truth is found by plain loops over the roles that training reads. Copies are exact (other formats, other metadata):
protocol `patient` refuses them across splits. Or nearly so (other compression, light, size): report.json names them.
"""

from pathlib import Path
from typing import Any

from torture.leaky import copies, listings, slides
from torture.outcome import Outcome

NUMBER = 7
TITLE = "leaks: patients, exact and near copies across splits, BreakHis's patient 13412"
TARGET = "0 patients under `patient`; all others reported; 13412 flagged; exact copies across splits end the data stage"
PROTOCOLS = ("patient", "image", "official", "hcrf-1-1-2")
DRAWN = {"stages": 60, "twins": 120, "near": 30, "slide": 12}
REFUSED = 0.3


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Random listings by protocol; then real data stages."""
    if not full:
        few = {f"listings-{protocol}": {"kind": "listings", "protocol": protocol, "count": 5} for protocol in PROTOCOLS}
        return few | {kind: {"kind": kind, "count": 3 if kind == "twins" else 1} for kind in DRAWN}
    found: dict[str, dict[str, Any]] = {}
    for protocol in PROTOCOLS:
        found[f"listings-{protocol}"] = {"kind": "listings", "protocol": protocol, "count": 300}
    return found | {kind: {"kind": kind, "count": count} for kind, count in {**DRAWN, "real": 3}.items()}


def inject(folder: Path, kind: str, count: int, protocol: str = "patient") -> Outcome:
    """`count` cases of one kind."""
    outcome = Outcome()
    if kind == "listings":
        _listings(folder, protocol, count, outcome)
        return outcome
    check = {
        "stages": copies.stage, "twins": copies.twin, "near": copies.near, "slide": slides.slide, "real": slides.real,
    }[kind]  # fmt: skip
    for seed in range(count):
        place = folder / str(seed)
        place.mkdir()
        check(place, seed, outcome)
    return outcome


def _listings(folder: Path, protocol: str, count: int, outcome: Outcome) -> None:
    from medtune.config.errors import InputError
    from medtune.data.splits import split_samples

    refused = 0
    for seed in range(2 * count):
        if seed - refused == count:
            break
        records, classes, params = listings.random_listing(protocol, seed)
        what = f"{protocol}, listing {seed}"
        try:
            kept = listings.keep_some(folder, records, classes, params, seed) if protocol == "patient" else None
            made = split_samples(records, classes, params, "torture", kept)
        except InputError as error:  # a part without images, or of one class: nothing was split, the next one is tried
            refused += 1
            if refused > REFUSED * count:
                outcome.count(what, f"refused, as too many are: {error}")
            continue
        outcome.count(what, _wrong(records, params, made, kept))
    outcome.figure("number of listings refused", refused)


def _wrong(records: list[Any], params: Any, made: Any, kept: Any) -> str | None:
    groups = [record.patient_id for record in records]
    truth = listings.leaking(groups, made.splits, params.trained_folds)
    if set(made.leaked_patients) != truth:
        return f"{len(made.leaked_patients)} patients are named as leaked, {len(truth)} are"
    if bool(truth) != any(note.startswith("LEAK: ") for note in made.notes):
        return f"{len(truth)} patients leak; the notes say {made.notes}"
    if groups[0] is None and not any("no patient ids" in note for note in made.notes):
        return "no patients are known, and nothing says so"
    if params.protocol == "official":
        moved = sum(
            (role == "test") != (old == "test")
            for record, row in zip(records, made.splits.tolist(), strict=True)
            for role, old in zip(row, record.published_splits, strict=True)
        )
        return f"{moved} published test images moved" if moved else None
    tests = 2 if params.protocol == "hcrf-1-1-2" else 1
    if params.val_fold is None and {row.count("test") for row in made.splits.tolist()} != {tests}:
        return "some images are tested more or less often than others"
    if params.protocol != "patient":
        return None
    everywhere = listings.leaking(groups, made.splits, list(range(params.folds)))
    if everywhere:
        return f"{len(everywhere)} patients are in two parts: {sorted(everywhere)[:3]}"
    if kept is not None and not kept.is_consistent_with(groups, made.folds.tolist()):
        return "a patient left the fold that it was dealt to before"
    return None
