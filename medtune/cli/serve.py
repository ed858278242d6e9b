"""Command `medtune serve`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options
from medtune.cli.bundle_errors import as_input_errors

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune serve artifacts/export",
        "medtune serve published/current --host 0.0.0.0 --port 8080",
        "curl --data-binary @scan.png http://127.0.0.1:8000/predict",
        "curl --data-binary @CASE.nii.gz http://127.0.0.1:8000/predict --output labels.nii.gz",
        "curl --data-binary @series.zip -H 'Accept: application/dicom' http://127.0.0.1:8000/predict --output seg.dcm",
    )
)
def serve(
    bundle: options.BundleFolder,
    host: Annotated[str, typer.Option(help="Address to listen on. There is no authentication.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads. 0: all cores.")] = 0,
    max_mb: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Largest request in MiB. Default: 64, or 512 for volumes.")
    ] = None,
    max_connections: Annotated[int, typer.Option(min=1, max=65535, help="Concurrent connections.")] = 32,
    codes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="DICOM-SEG: JSON file with the coded terms of labels."),
    ] = None,
) -> None:
    """Serve a bundle over HTTP.

    Send files to POST /predict. GET /metadata describes the model, GET
    /healthz reports the status, and GET /docs lists all requests.

    Images: send one image as the body, or several as multipart/form-data.
    The answer is JSON.

    Volumes: send one NIfTI file, or one file per channel as multipart/form-data.
    Or send one DICOM series, as a ZIP archive or as multipart/form-data.
    The answer is a label map in NIfTI format. The header `Accept:
    application/dicom` requests a DICOM-SEG instead, and `Accept:
    application/json` the label volumes.

    Two-dimensional segmentation: send one image. The answer is a label map
    as PNG.
    """
    from medtune.serving.any_bundle import load_bundle
    from medtune.serving.http import serve as run

    with as_input_errors():
        loaded = load_bundle(bundle, precision, provider, threads)
        print(f"{precision} on {', '.join(loaded.providers)}", file=sys.stderr, flush=True)
        run(loaded, host, port, None if max_mb is None else max_mb << 20, max_connections, codes)
