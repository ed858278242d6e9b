"""Random lists of images with patients and classes, and which of the patients leak, found in the plainest way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLASSES = ("ductal", "lobular", "mucinous", "papillary", "benign")
# Names that a careless comparison takes for one another, or for none.
NAMES = ("{}", "P{}", "p{}", "0{}", "{}.0", " {}", "Ä{}", "x,{}", 'q"{}', "nan{}")


def random_listing(protocol: str, seed: int) -> tuple[list[Any], tuple[str, ...], Any]:
    """Records, classes and split params of a small set: few or many patients, of one image or a hundred."""
    import numpy as np

    from medtune.config.data import SplitParams
    from medtune.data.sample import Sample

    draw = np.random.default_rng(seed)
    folds = 4 if protocol == "hcrf-1-1-2" else int(draw.integers(3, 8))
    classes = CLASSES[: draw.integers(2, len(CLASSES) + 1)]
    known = protocol == "patient" or draw.random() < 0.8
    rows: list[tuple[str, str | None]] = []
    for group in range(int(draw.integers(2 * folds, 40))):
        name = str(draw.choice(NAMES)).format(group // 2)  # two patients may well share a number, never a name
        own = str(draw.choice(classes))
        for _ in range(int(min(draw.geometric(draw.choice([0.02, 0.3])), 100))):
            label = str(draw.choice(classes)) if draw.random() < 0.05 else own
            rows.append((label, f"{name}/{group}" if known else None))
    published = None
    if protocol == "official":
        published = _published(draw, [group or str(row) for row, (_, group) in enumerate(rows)], folds)
    records = [
        Sample(f"{row:05}", label, group, published_splits=published[row] if published else None)
        for row, (label, group) in enumerate(rows)
    ]
    chain: int | str = "all" if draw.random() < 0.5 else int(draw.integers(folds))
    val = None if chain == "all" or draw.random() < 0.5 else (int(chain) + int(draw.integers(1, folds))) % folds
    split = SplitParams(protocol=protocol, folds=folds, test_fold=chain, val_fold=val, allow_missing_classes=True)  # type: ignore[arg-type]
    return records, classes, split


def _published(draw: Any, groups: list[str], folds: int) -> list[tuple[str, ...]]:
    """Roles in each fold: by patient, but for some images that the publisher put elsewhere."""
    stray = draw.choice([0.0, 0.02])
    by_group = {group: draw.choice(["train", "train", "test", "unused"], folds) for group in sorted(set(groups))}
    roles = []
    for group in groups:
        own = draw.choice(["train", "test"], folds) if draw.random() < stray else by_group[group]
        roles.append(tuple(own.tolist()))
    return roles


def keep_some(folder: Path, records: list[Any], classes: tuple[str, ...], split: Any, seed: int) -> Any:
    """Folds of an earlier deal of some of the patients, through data/folds.csv; None in half the cases."""
    import numpy as np

    from medtune.data import fold_assignments
    from medtune.data.splits import split_samples as deal

    draw = np.random.default_rng([seed, 1])
    if draw.random() < 0.5:
        return None
    groups = sorted({record.patient_id for record in records})
    early = set(draw.choice(groups, max(split.folds, len(groups) // 2), replace=False).tolist())
    before = [record for record in records if record.patient_id in early]
    classes = tuple(name for name in classes if any(record.label == name for record in before))
    folds = deal(before, classes, split, "torture").folds
    empty = fold_assignments.FoldAssignments("torture", split.folds)
    file = folder / f"folds-{seed}.csv"
    empty.write(file, [record.patient_id for record in before], folds.tolist())
    return fold_assignments.read_assignments(file, "torture", split.folds)


def leaking(groups: Sequence[str | None], roles: Any, chains: Sequence[int]) -> set[str]:
    """Patients with images in more than one of train, validation and test of one of `chains`."""
    found = set()
    for chain in chains:
        parts: dict[str, set[str]] = {}
        for group, row in zip(groups, roles, strict=True):
            if group and str(row[chain]) != "unused":
                parts.setdefault(group, set()).add(str(row[chain]))
        found |= {group for group, held in parts.items() if len(held) > 1}
    return found
