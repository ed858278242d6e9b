"""Evaluation of a bundle with onnxruntime on labeled images or volumes from another source than the training data.

The evaluation needs only the bundle and the data, not the project in which the model was trained.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.errors import InputError
from medtune.config.external import ExternalParams
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, digest, partial_dir, read_result
from medtune.runtime.provenance import provenance
from medtune.serving import members
from medtune.serving.manifest_fields import VOLUMES
from medtune.stages.external_input import ExternalInput
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.external import ExternalListing
    from medtune.data.manifest import PreparedDataset

STAGE = "external evaluation"


def run(
    bundle: Path,
    data: Path,
    out: Path | None = None,
    sets: Sequence[str] = (),
    precision: str = "fp32",
    provider: str = "cpu",
    training_data: Path | None = None,
) -> Artifact:
    """Evaluate a bundle on external labeled images or volumes.

    Args:
        bundle: folder of the bundle, which is not modified.
        data: a table of labels, or a folder with one subfolder per class. For volumes, a folder or table that a source
            of volumes reads (see `medtune.data.external_volume_params`).
        out: folder for the result. None for `evaluation-<data>` in the current folder.
        sets: overrides of data.* and evaluate.* as `key=value`.
        precision: precision of the model.
        provider: cpu, cuda or tensorrt.
        training_data: folder `data/prepared` of the training, to find images that the model has seen. None to search
            the folder next to the bundle.

    Returns:
        The artifact with metrics.json, predictions.csv, plots and report.html, as in artifacts/evaluate.

    Raises:
        InputError: the data, the labels or an option are invalid.
        medtune.serving.manifest.BundleError: the bundle is damaged or lacks the precision.
        RunError: the model returns values that are not finite.
    """
    from medtune.data.training_overlap import find_training_data
    from medtune.serving.manifest import read_manifest
    from medtune.stages.preflight import refuse_subgroups

    document = read_manifest(bundle)
    if "tiles" in document:
        raise InputError(
            f"{bundle} classifies whole-slide images, which this command does not support. Use `medtune predict`"
        )
    source = _external_input(bundle, document)
    params = source.params(data, sets)
    folder = _result_folder(out, data, bundle)
    listing = source.listing(params)
    for line in listing.listed.left_out.lines():
        console.info(f"evaluate: {line}")
    refuse_subgroups(params.evaluate, listing.columns, params.data.allow_values)
    training = find_training_data(bundle, document, training_data)
    loaded = source.load(precision, provider)
    work = partial_dir(folder)
    shutil.rmtree(work, ignore_errors=True)
    (work / "pixels").mkdir(parents=True)
    try:
        return _evaluate(source, loaded, listing, params, training, work, folder, data)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _external_input(bundle: Path, document: dict[str, Any]) -> ExternalInput:
    """Return the steps of the evaluation that depend on the input of the bundle: images or volumes."""
    if VOLUMES in document:
        from medtune.stages.external_volumes import VolumeInput

        return VolumeInput(bundle, document)
    from medtune.stages.external_images import ImageInput

    return ImageInput(bundle, document)


def _evaluate(
    source: ExternalInput,
    bundle: Any,
    listing: "ExternalListing",
    params: ExternalParams,
    training: "PreparedDataset | None",
    work: Path,
    folder: Path,
    data: Path,
) -> Artifact:
    """Evaluate a loaded bundle, and write the result to `folder`."""
    from medtune.data.external import external_warnings
    from medtune.data.training_overlap import find_overlap
    from medtune.evaluation.external import external_facts
    from medtune.evaluation.intervals import intervals
    from medtune.evaluation.result import EvaluationResult, summary_line, write_metrics
    from medtune.evaluation.subgroup_result import evaluate_subgroups
    from medtune.evaluation.subgroup_tables import table_lines, write_subgroups

    document, options, kind = bundle.manifest, params.evaluate, bundle.manifest["task"]["kind"]
    prepared = source.prepare(listing, params, bundle, work / "pixels", data.resolve().name)
    task, metrics = base.evaluation(kind), base.metrics(kind, prepared.info)
    overlap = find_overlap(prepared, training, members.folds(document))
    output = source.outputs(bundle, prepared, options, work / "pixels")
    predictions = task.from_bundle(prepared, np.arange(len(prepared.paths)), output, document)
    class_metrics = getattr(task, "class_metrics", lambda prepared: ())(prepared)
    test = intervals([*metrics, *class_metrics], predictions.stats(options), options.confidence)
    result = EvaluationResult(prepared, (), (), (), predictions, test, document)
    external = {
        "bundle": document.get("name", bundle.folder.name),
        "bundle_key": document.get("key"),
        "precision": bundle.precision,
        "providers": bundle.providers,
        "rule": source.rule(bundle),
        "data": data.resolve().name,
        **source.facts(bundle, prepared, predictions),
        "training_overlap": overlap.as_dict(),
    }
    key = digest([document["files"], bundle.precision, prepared.digest, options.model_dump(mode="json"), params.seed])
    warnings = [*overlap.warnings(), *external_warnings(prepared), *source.warnings(external)]
    common = external_facts(prepared, predictions, document, options, external, warnings, key)
    task_facts = task.facts(result, options)
    facts = {**common, **task_facts, "warnings": [*warnings, *task_facts.get("warnings", [])]}
    facts["subgroups"] = evaluate_subgroups(prepared, predictions, metrics, task.CLASS_AVERAGES, options)
    task.write(work, result, options, facts, [])
    names = [name for name in task.FACTS if name in facts]
    write_metrics(work / "metrics.json", test, facts, names)
    if facts["subgroups"]:
        write_subgroups(work / "subgroups.csv", facts["subgroups"])
    lines = [*facts["warnings"], *table_lines(facts["subgroups"], metrics, facts["patients_known"], facts["unit"])]
    for line in [*lines, summary_line(metrics, test, facts)]:
        console.info(f"evaluate: {line}")
    shutil.rmtree(work / "pixels")
    record = {
        "stage": STAGE,
        "external": external,
        "data": params.data.model_dump(mode="json", exclude={"root", "csv"}),
        "evaluate": options.model_dump(mode="json"),
        "provenance": provenance(),
    }
    return commit(folder, key, record)


def _result_folder(out: Path | None, data: Path, bundle: Path) -> Path:
    """Return the absolute path of the folder for the result: `out`, or `evaluation-<data>` in the current folder.

    Raises:
        InputError: the folder contains other files, or overlaps with the bundle or the data.
    """
    stem = data.resolve().stem if data.is_file() else data.resolve().name
    folder = (Path.cwd() / f"evaluation-{stem}" if out is None else out).resolve()
    inputs = {"the bundle": bundle.resolve()} | ({"the data": data.resolve()} if data.is_dir() else {})
    for name, path in inputs.items():
        if folder.is_relative_to(path) or path.is_relative_to(folder):
            raise InputError(f"--out={folder}: {name} and the result need separate folders. Use another folder")
    if folder.exists() and not _is_replaceable(folder):
        raise InputError(f"--out={folder}: exists and is not a result of this command. Use a new folder")
    return folder


def _is_replaceable(folder: Path) -> bool:
    """Return True if a folder is empty or contains an earlier result of this command."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        recorded: dict[str, Any] = read_result(folder)
    except (OSError, ValueError):
        return False
    return recorded.get("stage") == STAGE
