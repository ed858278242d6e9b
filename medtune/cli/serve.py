"""Command `medtune serve`."""

import sys
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
    )
)
def serve(
    bundle: options.BundleFolder,
    host: Annotated[str, typer.Option(help="Address to listen on. There is no authentication.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads. 0: all cores.")] = 0,
    max_mb: Annotated[int, typer.Option(min=1, max=4096, help="Largest request in MB.")] = 64,
    max_connections: Annotated[int, typer.Option(min=1, max=65535, help="Concurrent connections.")] = 32,
) -> None:
    """Serve a bundle over HTTP.

    POST /predict accepts an image as the body, or several as multipart/form-data. GET /healthz, /metadata and /docs.
    A bundle for volumes accepts one NIfTI file, or one per channel as multipart/form-data. It returns the label map as
    NIfTI, or the volumes of the labels for `Accept: application/json`. A bundle that segments images accepts one image
    and returns the label map as PNG, or the number of pixels of each label.
    """
    from medtune.serving.any_bundle import load_bundle
    from medtune.serving.http import serve as run

    with as_input_errors():
        loaded = load_bundle(bundle, precision, provider, threads)
        print(f"{precision} on {', '.join(loaded.providers)}", file=sys.stderr, flush=True)
        run(loaded, host, port, max_mb << 20, max_connections)
