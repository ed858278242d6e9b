"""Stage data: list, check, split and pack the images into data/prepared.

To pack means to decode and resize all images and to write them to one array.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data import fold_assignments
from medtune.data.fold_assignments import FoldAssignments
from medtune.data.sample import Sample
from medtune.data.source_listing import SourceListing, list_source
from medtune.data.wording import wording_of_params
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, find_artifact, partial_dir
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.tasks import base


def run(params: Params, paths: RunPaths, before_decoding: Callable[[], None] = lambda: None) -> Artifact:
    """Prepare the data. If the params, the source code and the files are unchanged, return the finished artifact.

    Args:
        params: all params.
        paths: where to write.
        before_decoding: function that is called after all checks that need no pixels, before the pixels are decoded.
            It may raise InputError.

    Returns:
        The finished artifact data/prepared.

    Raises:
        InputError: the images, the labels or the requested split are invalid.
        OSError: a file cannot be written.
    """
    start_time = time.perf_counter()
    listed = list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)
    _check_columns(listed.samples, params)
    for line in listed.left_out.lines():
        console.info(f"data: {line}")
    assignments = fold_assignments.read_assignments(
        fold_assignments.assignments_path(paths), params.data.source, params.data.split.folds
    )
    key = data_key(params)
    done = find_artifact(paths.prepared, key)
    if (
        done is not None
        and done.result()["listing"] == listed.hash
        and _matches_assignments(params, paths, assignments)
    ):
        shutil.rmtree(partial_dir(paths.prepared), ignore_errors=True)  # from a killed run with other params
        unit = wording_of_params(params.data).items
        console.info(f"data: nothing changed; {done.result()['n_images']:,} {unit} are ready")
        return done
    try:
        if params.data.has_volumes:
            from medtune.stages.data_volumes import prepare_volumes

            return prepare_volumes(params, paths, listed, assignments, key, start_time, before_decoding)
        return _prepare(params, paths, listed, assignments, key, start_time, before_decoding)
    except (InputError, OSError):  # partial output cannot be resumed and would waste space on a full disk
        shutil.rmtree(partial_dir(paths.prepared), ignore_errors=True)
        raise


def _check_columns(samples: Sequence[Sample], params: Params) -> None:
    """Check the names of the metadata columns, and the columns that `evaluate.by` selects."""
    from medtune.data.manifest_writing import check_metadata
    from medtune.stages.preflight import check_subgroups

    if samples:
        names = list(samples[0].metadata)
        csv = getattr(params.data, "csv", None)
        table = f"data.csv={csv}" if csv else f"data.source={params.data.source}"
        check_metadata(names, params.data.split.folds, table, volumes=params.data.has_volumes)
        check_subgroups(params, {name: [sample.metadata[name] for sample in samples] for name in names})


def _matches_assignments(params: Params, paths: RunPaths, assignments: FoldAssignments) -> bool:
    """Return True if the folds of the prepared data agree with `assignments`, the content of data/folds.csv."""
    from medtune.data.manifest import load_prepared

    if params.data.split.protocol != "patient" or not assignments.fold_by_hash:
        return True
    prepared = load_prepared(paths.prepared)
    return assignments.is_consistent_with(prepared.patient_ids.tolist(), prepared.folds.tolist())


def _prepare(
    params: Params,
    paths: RunPaths,
    listed: SourceListing,
    assignments: FoldAssignments,
    key: str,
    start_time: float,
    before_decoding: Callable[[], None],
) -> Artifact:
    """Prepare a data set of images or whole-slide images. Slides are cut into tiles, which are packed like images."""
    import numpy as np

    from medtune.data import contact_sheet, duplicates, findings, manifest_writing
    from medtune.data.dataset_report import check_duplicates, describe_dataset, finish_dataset
    from medtune.data.packing import IMAGES_FILE, pack
    from medtune.data.slide_tiles import write_overviews
    from medtune.data.splits import split_samples

    data, records, classes = params.data, listed.samples, listed.classes
    task = base.targets(params.task.kind)
    if hasattr(listed.source, "cut") and params.task.kind != "classification":
        raise InputError(f"task.kind={params.task.kind}: slides can only be classified. Use another data.source")
    # Decoding may take an hour, so targets and splits are checked first.
    task.check(records)
    split_samples(records, listed.split_classes, data.split, data.source, assignments, task.MIN_CLASSES)
    before_decoding()
    folder = partial_dir(paths.prepared)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    slides = listed.source.cut(records, listed.root, data) if hasattr(listed.source, "cut") else None
    sources = records if slides is None else slides.tiles
    packed = pack(sources, listed.root, folder, data.image_size, data.resize, data.on_bad_image, data.intensity)
    selected = [sources[position] for position in packed.selected]
    slides = slides and slides.select(packed.selected)
    units = selected if slides is None else slides.slides
    split = split_samples(units, listed.split_classes, data.split, data.source, assignments, task.MIN_CLASSES)
    unit_splits = split.splits
    if slides is not None:  # the split of a slide applies to all its tiles
        split = replace(split, folds=split.folds[slides.slide_index], splits=split.splits[slides.slide_index])
    manifest_writing.write_targets(folder, (task.encode(record, data) for record in selected), len(selected))
    decoded_time = time.perf_counter()

    images = np.load(folder / IMAGES_FILE, mmap_mode="r")
    # Tiles without tissue look alike, so complete slides are compared instead of tiles.
    copies = duplicates.find_duplicates(images, packed.sha256) if slides is None else slides.copies()
    names, unit_labels = [unit.path for unit in units], [unit.label for unit in units]
    twice = duplicates.duplicate_report(copies, names, unit_labels, unit_splits, data.split.trained_folds)
    leaks = check_duplicates(twice, data.split.protocol, "images" if slides is None else "slides")
    test_fold = "all" if data.split.test_fold == "all" else data.split.test_folds[0]
    manifest_writing.write_manifest(folder, selected, packed, split, test_fold)
    notes = [*listed.notes, *split.notes, *packed.notes, *leaks]
    notes += slides.notes() if slides is not None else []
    info = describe_dataset(data, listed, units, unit_splits, split.leaked_patients, notes)
    info |= {"sites": list(split.sites)} if split.sites else {}
    if slides is not None:
        info |= {"n_images": len(selected), "n_slides": len(units)}
        write_overviews(folder / "slides", slides)
    info["intensity"] = packed.intensity.document()
    manifest_writing.write_info(folder, info)
    titles, indices = findings.display_groups(selected, classes)
    contact_sheet.write_contact_sheet(folder / "samples.png", images, indices, titles)
    tested = np.flatnonzero(np.asarray(split.splits)[:, data.split.test_folds[0]] == "test")
    contact_sheet.write_sample_files(folder / "samples", images, indices, titles, tested)
    rejected = [*listed.rejected, *(slides.rejected if slides else ()), *packed.rejected]
    entries = {
        "duplicates": twice,
        "images_per_second": round(len(sources) / max(decoded_time - start_time, 1e-9), 1),
        **({"slides": slides.report()} if slides is not None else {}),
    }
    return finish_dataset(paths.prepared, key, params, listed, rejected, info, entries, start_time)
