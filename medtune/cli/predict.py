"""Command `medtune predict`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

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
    )
)
def predict(
    bundle: options.BundleFolder,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files or folders of images.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Output file. Default: stdout.")] = None,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all cores.")] = None,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.02, max=20, help="Slides: micrometers per pixel of files that do not state it."),
    ] = None,
    tiles: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Slides: write position, probabilities and attention per tile."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Predict the class probabilities of images, or of whole-slide images.

    Prints CSV with the columns path, prediction and prob_CLASS, and for slides the number of tiles. Exit codes: 0 all
    images are predicted, 1 some images are not readable (listed on stderr), 2 invalid bundle, provider or path.
    """
    from medtune.serving import predict as serving
    from medtune.serving.bundle import Bundle
    from medtune.serving.decode import SUFFIXES
    from medtune.serving.manifest import read_manifest
    from medtune.serving.slides.slide import OTHER_SUFFIXES, require_reader
    from medtune.serving.slides.slide import SUFFIXES as SLIDE_SUFFIXES

    with as_input_errors():
        for_slides = "tiles" in read_manifest(bundle)
        if not for_slides:
            _reject_slide_options(bundle, {"--mpp": mpp, "--tiles": tiles})
        suffixes = (*SLIDE_SUFFIXES, *OTHER_SUFFIXES) if for_slides else SUFFIXES
        images, left_out = serving.find_images(paths, suffixes), serving.left_out(paths, suffixes)
        if for_slides:
            require_reader()
        # Busy waiting between batches would slow down the decoding of the next batch.
        loaded = Bundle.load(bundle, precision, provider, threads or 0, busy_wait=False)
        print(
            f"{precision} on {', '.join(loaded.providers)}; {loaded.task.summary(loaded.manifest)}",
            file=sys.stderr,
            flush=True,
        )
        skipped = serving.write_predictions(loaded, images, out, batch_size, threads or 4, as_json, mpp, tiles)
        for line in left_out:
            print(line, file=sys.stderr)
    if skipped:
        sys.exit(1)


def _reject_slide_options(bundle: Path, options: Mapping[str, object]) -> None:
    from medtune.config.errors import InputError

    if given := [f"{name}={value}" for name, value in options.items() if value is not None]:
        raise InputError(f"{given[0]}: {bundle} does not predict slides. Remove the option")
