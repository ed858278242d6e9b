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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on. 0: any free port.")] = 8000,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads. 0: all cores.")] = 0,
    max_mb: Annotated[int, typer.Option(min=1, max=4096, help="Largest request in MB.")] = 64,
    max_connections: Annotated[int, typer.Option(min=1, max=65535, help="Maximum number of open connections.")] = 32,
) -> None:
    """Serve a bundle over HTTP.

    POST /predict returns predictions. GET /docs describes the interface.
    GET /healthz and GET /metadata describe the server and the bundle.

    Classification. Body: one image, or several as multipart/form-data.
    Response: JSON.

    Segmentation of volumes. Body: one NIfTI file, or one per channel as
    multipart/form-data. Response: the label map as NIfTI.

    Segmentation of images. Body: one image.
    Response: the label map as PNG.

    With `Accept: application/json`, segmentation returns the size of each
    label instead of the label map.
    """
    from medtune.serving.any_bundle import load_bundle
    from medtune.serving.http import serve as run

    with as_input_errors():
        loaded = load_bundle(bundle, precision, provider, threads)
        print(f"{precision} on {', '.join(loaded.providers)}", file=sys.stderr, flush=True)
        run(loaded, host, port, max_mb << 20, max_connections)
