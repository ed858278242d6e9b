"""Random lists of images with patients and classes, and the patients that a split leaks."""

import numpy as np

from medtune.config.data import SplitParams
from medtune.data.fold_assignments import FoldAssignments, read_assignments
from medtune.data.sample import Sample
from medtune.data.splits import split_samples

CLASSES = ("ductal", "lobular", "mucinous", "papillary", "benign")
# Names that an inexact comparison confuses, or takes for missing.
NAMES = ("{}", "P{}", "p{}", "0{}", "{}.0", " {}", "Ä{}", "x,{}", 'q"{}', "nan{}")
PUBLISHED = ("train", "train", "test", "unused")
SPLITS = {"train", "val", "test"}


def random_listing(protocol, random):
    """Draw samples, classes and split params of a set with few or many patients, of 1 to 100 images each."""
    folds = 4 if protocol == "hcrf-1-1-2" else int(random.integers(3, 8))
    classes = CLASSES[: random.integers(2, len(CLASSES) + 1)]
    has_patients = protocol == "patient" or random.random() < 0.8
    misplaced = random.choice([0.0, 0.02])
    samples = []
    for number in range(random.integers(2 * folds, 40)):
        # Two patients may have the same number, but not the same name.
        patient = f"{random.choice(NAMES).format(number // 2)}/{number}" if has_patients else None
        main_label, published = random.choice(classes), random.choice(PUBLISHED, folds)
        for _ in range(min(random.geometric(random.choice([0.02, 0.3])), 100)):
            label = random.choice(classes) if random.random() < 0.05 else main_label
            if patient is None or random.random() < misplaced:
                published = random.choice(PUBLISHED[1:3], folds)
            published_splits = tuple(published.tolist()) if protocol == "official" else None
            samples.append(Sample(f"{len(samples):05}", str(label), patient, published_splits=published_splits))
    test_fold = "all" if random.random() < 0.5 else int(random.integers(folds))
    val_fold = None
    if test_fold != "all" and random.random() < 0.5:
        val_fold = (test_fold + int(random.integers(1, folds))) % folds
    params = SplitParams(
        protocol=protocol, folds=folds, test_fold=test_fold, val_fold=val_fold, allow_missing_classes=True
    )
    return samples, classes, params


def earlier_folds(path, samples, classes, params, random):
    """Split half of the patients and return their folds as read from the file; None in half of the cases."""
    if random.random() < 0.5:
        return None
    patients = sorted({sample.patient_id for sample in samples})
    earlier = set(random.choice(patients, max(params.folds, len(patients) // 2), replace=False).tolist())
    samples = [sample for sample in samples if sample.patient_id in earlier]
    classes = [name for name in classes if any(sample.label == name for sample in samples)]
    folds = split_samples(samples, classes, params, "torture").folds
    FoldAssignments("torture", params.folds).write(path, [sample.patient_id for sample in samples], folds.tolist())
    return read_assignments(path, "torture", params.folds)


def leaked_patients(patients, splits, folds):
    """Return the patients with images in several of train, val and test of any of these folds, by plain loops."""
    leaked = set()
    for fold in folds:
        splits_of = {}
        for patient, row in zip(patients, splits, strict=True):
            if patient and row[fold] in SPLITS:
                splits_of.setdefault(patient, set()).add(row[fold])
        leaked |= {patient for patient, names in splits_of.items() if len(names) > 1}
    return leaked


def is_separated(first, second):
    """Return whether two images are in different ones of train, val and test of any fold."""
    return any({a, b} < SPLITS and a != b for a, b in zip(first, second, strict=True))


def listing_problem(samples, params, result, assigned):
    """Return the first problem of the splits of a listing; `assigned` are earlier folds."""
    patients, rows = [sample.patient_id for sample in samples], result.splits.tolist()
    leaked = leaked_patients(patients, rows, params.trained_folds)
    if set(result.leaked_patients) != leaked:
        return f"{len(result.leaked_patients)} patients are reported as leaked, {len(leaked)} are"
    if bool(leaked) != any(note.startswith("LEAK: ") for note in result.notes):
        return f"{len(leaked)} patients leak, and the notes are {result.notes}"
    if patients[0] is None and not any("no patient ids" in note for note in result.notes):
        return "the missing patient ids are not reported"
    for fold in params.trained_folds:
        if missing := SPLITS - {row[fold] for row in rows}:
            return f"fold {fold} has no image in {', '.join(sorted(missing))}"
    if params.protocol == "official":
        published = np.array([sample.published_splits for sample in samples])
        n_moved = int(((result.splits == "test") != (published == "test")).sum())
        return f"{n_moved} published test images moved" if n_moved else None
    n_tests = {row.count("test") for row in rows}
    if params.val_fold is None and n_tests != {2 if params.protocol == "hcrf-1-1-2" else 1}:
        return f"the images are tested {n_tests} times"
    if params.protocol == "patient" and (leaked := leaked_patients(patients, rows, range(params.folds))):
        return f"{len(leaked)} patients are in two splits"
    if assigned is not None and not assigned.is_consistent_with(patients, result.folds.tolist()):
        return "a patient changed the fold"
    return None


def folds_by_image(labels, groups, folds, kept=None):
    """Assign images instead of patients to folds, as a replacement of `grouped_stratified_folds`."""
    return np.random.default_rng(0).permutation(len(labels)) % folds
