"""Command `medtune predict`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from medtune.cli import options
from medtune.cli.bundle_errors import as_input_errors

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune predict artifacts/export scans/",
        "medtune predict artifacts/export scans/ extra.png --out predictions.csv --precision fp16",
        "medtune predict artifacts/export scans/ --json",
        "medtune predict artifacts/export slide.svs --tiles tiles.csv",
        "medtune predict artifacts/export CASE.nii.gz dicom_series/ --out label_maps",
        "medtune predict artifacts/export T1.nii.gz,T2.nii.gz --out label_maps",
        "medtune predict artifacts/export dicom_series/ --out segmentations --format dicom-seg",
    )
)
def predict(
    bundle: options.BundleFolder,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, volumes, or folders of them.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file. Default: stdout. Segmentation: folder for the label maps."),
    ] = None,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Inputs of the network per batch. Default: 32, or 1 for segmentation."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all cores.")] = None,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.02, max=20, help="Slides: micrometers per pixel, for files that do not contain this value."),
    ] = None,
    tiles: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Slides: CSV file for the position, probabilities and attention of each tile."
        ),
    ] = None,
    label_map_format: Annotated[
        Literal["nifti", "dicom-seg"] | None,
        typer.Option("--format", help="Volumes: format of the label maps. Default: nifti."),
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --format dicom-seg: JSON file with the coded terms of the labels."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Predict the classes of images or slides, or segment volumes or images.

    The input and the output depend on the bundle:

    Classification of images. Input: image files and folders of images.
    Output: CSV with the columns path, prediction and prob_CLASS, on stdout
    or in the file --out.

    Classification of slides. Input: whole-slide images and folders of them.
    Output: the same CSV, with the number of tiles. --tiles writes one row
    per tile to another file.

    Segmentation of volumes. Input: NIfTI files, folders of them, and folders
    with one DICOM series. The channels of a volume are the fourth axis of
    its file, files named CASE_0000.nii.gz, CASE_0001.nii.gz, or files
    separated by commas. Output: CASE.nii.gz per volume and volumes.csv in
    the folder --out. With --format dicom-seg: CASE.dcm per DICOM series.

    Segmentation of images. Input: image files and folders of images.
    Output: a mask CASE.png per image and volumes.csv in the folder --out.

    Exit codes: 0 all files are predicted, 1 some files are not readable
    (listed on stderr), 2 invalid bundle, provider or path.
    """
    from medtune.serving import predict as serving
    from medtune.serving.bundle import Bundle
    from medtune.serving.decode import SUFFIXES
    from medtune.serving.manifest import read_manifest
    from medtune.serving.slides.slide import OTHER_SUFFIXES, require_reader
    from medtune.serving.slides.slide import SUFFIXES as SLIDE_SUFFIXES

    with as_input_errors():
        document = read_manifest(bundle)
        for_slides = "tiles" in document
        if not for_slides:
            _reject_options(bundle, "predict slides", {"--mpp": mpp, "--tiles": tiles})
        if "volumes" in document:
            session, output = (precision, provider, threads or 0), (label_map_format, codes)
            if _segment(bundle, document, paths, out, session, batch_size or 1, as_json, output):
                sys.exit(1)
            return
        _reject_options(bundle, "segment volumes", {"--format": label_map_format, "--codes": codes})
        suffixes = (*SLIDE_SUFFIXES, *OTHER_SUFFIXES) if for_slides else SUFFIXES
        images, left_out = serving.find_images(paths, suffixes), serving.left_out(paths, suffixes)
        if for_slides:
            require_reader()
        # Threads that wait actively between batches would slow down the decoding of the next batch.
        loaded = Bundle.load(bundle, precision, provider, threads or 0, busy_wait=False)
        print(
            f"{precision} on {', '.join(loaded.providers)}; {loaded.task.summary(loaded.manifest)}",
            file=sys.stderr,
            flush=True,
        )
        skipped = serving.write_predictions(loaded, images, out, batch_size or 32, threads or 4, as_json, mpp, tiles)
        for line in left_out:
            print(line, file=sys.stderr)
    if skipped:
        sys.exit(1)


def _segment(
    bundle: Path,
    document: Mapping[str, Any],
    paths: list[Path],
    out: Path | None,
    session: tuple[str, str, int],
    batch_size: int,
    as_json: bool,
    output: tuple[str | None, Path | None],
) -> int:
    """Segment volumes or images, and return the number of inputs that could not be segmented."""
    from medtune.config.errors import InputError
    from medtune.serving.volumes.bundle import VolumeBundle
    from medtune.serving.volumes.cases import check_outputs, find_cases
    from medtune.serving.volumes.dicom_seg import DicomSegFormat
    from medtune.serving.volumes.image_cases import find_image_cases
    from medtune.serving.volumes.label_map_format import DefaultFormat, LabelMapFormat
    from medtune.serving.volumes.predict import write_label_maps

    if out is None:
        raise InputError(f"--out: missing, but {bundle} writes label maps. Name a folder")
    if os.path.isfile(out):
        raise InputError(f"--out={out}: this is a file. Name a folder for the label maps")
    images, (kind, codes) = "images" in document["volumes"], output
    if images and kind is not None:
        raise InputError(f"--format={kind}: {bundle} segments images, and writes PNG files. Remove the option")
    writer: LabelMapFormat = DefaultFormat()
    if kind == "dicom-seg":
        writer = DicomSegFormat.from_manifest(document, codes)
    elif codes is not None:
        raise InputError(f"--codes={codes}: only a DICOM-SEG has codes. Add --format dicom-seg, or remove the option")
    channels = len(document["volumes"]["channels"])
    cases = find_image_cases(paths, out) if images else find_cases(paths, channels, out)
    cases = writer.prepare(cases, out)
    check_outputs(cases, out)
    loaded = VolumeBundle.load(bundle, *session, busy_wait=False)
    print(
        f"{loaded.precision} on {', '.join(loaded.providers)}; {loaded.task.summary(loaded.manifest)}",
        file=sys.stderr,
        flush=True,
    )
    return write_label_maps(loaded, cases, out, batch_size, as_json, writer)


def _reject_options(bundle: Path, action: str, options: Mapping[str, object]) -> None:
    """Raise InputError if an option is given that the bundle does not support."""
    from medtune.config.errors import InputError

    if given := [f"{name}={value}" for name, value in options.items() if value is not None]:
        raise InputError(f"{given[0]}: {bundle} does not {action}. Remove the option")
