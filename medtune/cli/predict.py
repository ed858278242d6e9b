"""`medtune predict`: class probabilities of image files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options

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
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, or folders of images.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to FILE; default: stdout.")] = None,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per prediction.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.02, max=20, help="Slides: micrometres per pixel where the file does not state it."),
    ] = None,
    tiles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Slides: write the position and probabilities of each tile.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Predict the class probabilities of images, or of whole-slide images.

    Prints CSV with the columns path, prediction, prob_CLASS, and for slides the number of tiles. Exits 0 when every
    image is predicted, 1 if some could not be read (each is named on stderr), 2 if the bundle, the provider or a path
    is wrong.
    """
    from medtune.config.errors import InputError
    from medtune.serving import predict as serving
    from medtune.serving.bundle import Bundle, BundleError
    from medtune.serving.decode import SUFFIXES
    from medtune.serving.manifest import read_manifest
    from medtune.serving.slides.slide import OTHER_SUFFIXES, MissingReaderError, require_reader
    from medtune.serving.slides.slide import SUFFIXES as SLIDE_SUFFIXES

    try:
        for_slides = "tiles" in read_manifest(bundle)
        if not for_slides and (mpp is not None or tiles is not None):
            raise InputError(f"--{'mpp' if mpp is not None else 'tiles'}: {bundle} is not for slides. Leave it out")
        suffixes = (*SLIDE_SUFFIXES, *OTHER_SUFFIXES) if for_slides else SUFFIXES
        images, left_out = serving.find_images(paths, suffixes), serving.left_out(paths, suffixes)
        if for_slides:
            require_reader()
        # Threads that wait busily between two batches would take the cores that decode the next one.
        loaded = Bundle.load(bundle, precision, provider, threads or 0, busy_wait=False)
        print(
            f"{precision} on {', '.join(loaded.providers)}; {loaded.task.summary(loaded.manifest)}",
            file=sys.stderr,
            flush=True,
        )
        skipped = serving.write_predictions(loaded, images, out, batch_size, threads or 4, as_json, mpp, tiles)
        for line in left_out:
            print(line, file=sys.stderr)
    except (BundleError, MissingReaderError) as error:
        raise InputError(str(error)) from error
    if skipped:
        raise typer.Exit(1)
