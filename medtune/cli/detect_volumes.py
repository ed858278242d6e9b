"""Detection of volumes with masks in `medtune init`: labels, channels, sizes and patients."""

import contextlib
import importlib.util
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.cli import refused_volumes, volume_headers, volume_layouts
from medtune.cli.detected import DetectedData
from medtune.cli.patients import find_pattern
from medtune.cli.program import INSTALL_SEGMENT
from medtune.config import registry
from medtune.config.errors import InputError, show_value
from medtune.data.dataset_json import FILE
from medtune.data.dicom_samples import add_dicom_headers
from medtune.data.listing import scan_root
from medtune.data.prediction_results import describe_results, find_results, without_label_maps
from medtune.data.sample import Sample
from medtune.data.volume_cases import SUFFIXES
from medtune.serving.decode import SUFFIXES as IMAGE_SUFFIXES

SLICES = (".dcm",)  # DICOM files do not count as images, because they are often stored beside the NIfTI file of a scan
MIN_FOLDS_VOLUMES = 15  # with fewer volumes or patients, three folds are used
# Settings for segmentation. Learning rates are fixed, because the default `auto` trains every network three times.
TASK: dict[str, Any] = {
    "task.kind": "segmentation",
    "task.controls": ["decoder_only", "scratch"],
    "schedule": "staged",
    "model.head.kind": "decoder",
    "model.backbone_args": {},
    "model.peft.method": "lora",
    "frozen.monitor": "dice",
    "frozen.batch_size": 2,
    "frozen.min_steps": 450,
    "frozen.lr": {"decoder": 3e-3},
    "finetune.monitor": "dice",
    "finetune.batch_size": 2,
    "finetune.min_steps": 450,
    "finetune.lr": {"lora": 2e-3},
    "gate.metric": "dice",
}


def detect_volumes(root: Path, table: str | None = None) -> DetectedData | None:
    """Detect a data set of volumes.

    Args:
        root: data root.
        table: file name of the table in `root`; None to search for a table, dataset.json or folders.

    Returns:
        Settings, findings and warnings. None if the data are not volumes.

    Raises:
        InputError: masks or volumes are missing or invalid, or nibabel is not installed.
    """
    if not root.is_dir():
        return None
    content = scan_root(root, SUFFIXES)
    layout = volume_layouts.by_dataset_json(root)
    images = [path for path in content.others if path.lower().endswith(IMAGE_SUFFIXES)]
    if layout is None and not content.images:
        return None
    if layout is not None:
        refused_volumes.require_volumes(root, layout, content)
    results = find_results(root, content.others)
    volumes = without_label_maps(content.images, results)
    if layout is None:
        layout = volume_layouts.by_table(root, table)
    if layout is None:
        refused_volumes.refuse_several(root)
    slices = [path for path in images if path.lower().endswith(SLICES)]
    if layout is None and len(images) - len(slices) <= len(volumes):
        layout = volume_layouts.by_folders(root, volumes)
    if layout is None and slices:
        layout = volume_layouts.by_series(root, volumes, slices)
    if layout is None:
        if images:
            return None
        if table:
            raise InputError(f"{table}: no column names NIfTI files. Add the columns path,mask,patient")
        raise InputError(refused_volumes.describe_no_masks(root, content.images, results))
    if importlib.util.find_spec("nibabel") is None:
        raise InputError(f"nibabel is not installed, but volumes need it. Run {INSTALL_SEGMENT}")
    detected = _describe(root, layout, content.images, len(images))
    detected.findings += describe_results(results)
    return detected


def _describe(root: Path, layout: volume_layouts.Layout, files: Sequence[str], n_images: int) -> DetectedData:
    """Return the settings, findings and warnings for a layout, given all NIfTI files and the number of images."""
    detected = DetectedData({**TASK, **layout.settings})
    samples = list_layout(root, layout)
    volumes = [sample.volume for sample in samples if sample.volume is not None]
    headers = volume_headers.read_headers(volumes)
    detected.findings = [("volumes", f"{len(samples):,} in {root}"), ("layout", layout.title)]
    if layout.settings["data.source"] in ("volumes", "dicom"):
        masks = [volume.mask for volume in volumes if volume.mask is not None]
        name_labels(volume_headers.read_labels(masks), min(len(masks), volume_headers.MASKS_READ), detected)
        if headers.channels > 1:
            names = [f"channel_{number}" for number in range(headers.channels)]
            detected.settings["data.channel_names"] = names
            detected.findings.append(("channels", f"{headers.channels}, in the fourth axis"))
    else:
        source, params = _source(root, layout.settings)
        names = source.channels(params)
        detected.findings += [("labels", ", ".join(source.classes(params))), ("channels", ", ".join(names))]
        if headers.shapes and len(volumes[0].channels) == 1 and headers.channels != len(names):
            detected.warnings.append(
                f"{FILE} names {len(names)} channels, but the files have {headers.channels}. Correct {FILE}"
            )
        if {name.casefold() for name in names} == {"ct"}:
            detected.settings["data.intensity.rule"] = "foreground"  # as nnU-Net does for CT
            detected.findings.append(("intensity", "CT: normalized by the labeled voxels of the training volumes"))
    if headers.shapes:
        detected.findings.append(("size", headers.describe()))
    if headers.bad:
        more = f" ({len(headers.bad):,} such files)" if len(headers.bad) > 1 else ""
        detected.warnings.append(f"{headers.bad[0]}{more}. `medtune data` lists every file that cannot be used")
    set_split(samples, layout, detected)
    used = {path for volume in volumes for path in volume.files}
    unused = [path for path in files if root / path not in used]
    if unused or n_images:
        example = f", for example {unused[0]}" if unused else ""
        detected.findings.append(("not used", f"{len(unused):,} NIfTI files{example}, and {n_images:,} images"))
    return detected


def _source(root: Path, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Return the data source of the settings and its params. Missing label names are replaced by a placeholder."""
    values: dict[str, Any] = {"root": str(root)}
    for key, value in settings.items():
        section, _, name = key.removeprefix("data.").rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = value
    source = registry.load_plugin("medtune.data.sources", values["source"], "data.source")
    if values["source"] in ("volumes", "dicom", "masks"):
        values["class_names"] = ["label"]
    return source, source.Params.model_validate(values)


def list_layout(root: Path, layout: volume_layouts.Layout) -> list[Sample]:
    """Return the samples (volumes with their masks) of a layout.

    Args:
        root: data root.
        layout: the layout.

    Raises:
        InputError: files are missing or invalid.
    """
    source, params = _source(root, layout.settings)
    with contextlib.redirect_stdout(io.StringIO()):  # `medtune data` prints the notes of the source
        samples = source.list_samples(root.resolve(), params)
    return add_dicom_headers(samples, root, params.frames).samples


def name_labels(
    counts: dict[int, int], n_read: int, detected: DetectedData, known: Mapping[int, str] | None = None
) -> None:
    """Set the names of the labels. Names that are not known are placeholders, with a warning.

    Args:
        counts: number of masks that contain a label, by number of the label.
        n_read: number of masks that were read.
        detected: result to extend.
        known: names of labels in a file, by number. They are used only if all labels have a name.
    """
    numbers = range(1, max([*counts, *(known or {})]) + 1)
    if known and all(number in known for number in numbers):
        detected.settings["data.class_names"] = [known[number] for number in numbers]
        detected.findings.append(("labels", ", ".join(known[number] for number in numbers)))
        return
    names = [f"label_{number}" for number in range(1, max(counts) + 1)]
    detected.settings["data.class_names"] = names
    shown = ", ".join(f"{label} in {count}" for label, count in counts.items())
    detected.findings.append(("labels", f"{shown} of {n_read} masks read"))
    detected.warnings.append(
        f"the files do not name the labels. They are now {', '.join(names)}. Set data.class_names to the real names"
    )
    if absent := [number for number in range(1, max(counts) + 1) if number not in counts]:
        detected.warnings.append(f"label {absent[0]} is in none of the masks that were read. `medtune data` reads all")
    example = [f"NAME_{number}" for number in range(1, len(names) + 1)]
    detected.commands.append(f"medtune params set {shlex.quote(f'data.class_names={show_value(example)}')}")


def set_split(samples: Sequence[Sample], layout: volume_layouts.Layout, detected: DetectedData) -> None:
    """Choose the protocol and the number of folds.

    The split is by patient if all patients are known, otherwise by volume.

    Args:
        samples: the volumes.
        layout: layout of the data set.
        detected: result to extend.
    """
    patients = {sample.patient_id for sample in samples}
    if None not in patients:
        origin = "DICOM files" if layout.settings["data.source"] == "dicom" else "table"
        detected.findings.append(("patients", f"{len(patients):,}, from the {origin}"))
        n_units, units = len(patients), "patients"
    else:
        n_units, units = len(samples), "volumes"
        detected.settings["data.split.protocol"] = "image"
        detected.findings.append(
            ("patients", "unknown: the split is by volume. A patient with several volumes inflates the metrics")
        )
        _suggest_patients([sample.path for sample in samples], layout.others, detected)
    if n_units < MIN_FOLDS_VOLUMES:
        detected.settings["data.split.folds"] = 3
    if n_units < 3:
        detected.warnings.append(f"{n_units} {units} are too few for 3 folds. Add {units}")


def _suggest_patients(paths: list[str], others: Sequence[str], detected: DetectedData) -> None:
    """Suggest a column of patients, or a pattern in the file names."""
    by_patient = "data.split.protocol=patient"
    if others:
        detected.warnings.append(f"column {others[0]!r} may contain patient ids. If so, set data.columns.patient")
        assignment = shlex.quote(f"data.columns.patient={others[0]}")
    elif found := find_pattern(paths):
        detected.warnings.append(
            f"the file names contain {found.n_ids:,} possible patient ids, for example {found.example}. If they are "
            "patients, set data.patient_pattern"
        )
        assignment = shlex.quote(f"data.patient_pattern={found.pattern}")
    else:
        return
    detected.commands.append(f"medtune params set {by_patient} {assignment}")
