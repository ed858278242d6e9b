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
    as_json: options.AsJson = False,
) -> None:
    """Predict the class probabilities of images.

    Prints CSV with the columns path, prediction, prob_CLASS. Exits 0 when every image is predicted, 1 if some could
    not be read (each is named on stderr), 2 if the bundle, the provider or a path is wrong.
    """
    from medtune.config.errors import InputError
    from medtune.serving import predict as serving
    from medtune.serving.bundle import Bundle, BundleError

    try:
        images, left_out = serving.find_images(paths), serving.left_out(paths)
        # Threads that wait busily between two batches would take the cores that decode the next one.
        loaded = Bundle.load(bundle, precision, provider, threads or 0, busy_wait=False)
        print(
            f"{precision} on {', '.join(loaded.providers)}; {loaded.task.summary(loaded.manifest)}",
            file=sys.stderr,
            flush=True,
        )
        skipped = serving.write_predictions(loaded, images, out, batch_size, threads or 4, as_json)
        for line in left_out:
            print(line, file=sys.stderr)
    except BundleError as error:
        raise InputError(str(error)) from error
    if skipped:
        raise typer.Exit(1)
