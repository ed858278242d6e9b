"""`medtune serve`: a bundle over HTTP."""

import sys
from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune serve artifacts/export",
        "medtune serve published/current --host 0.0.0.0 --port 8080",
        "curl --data-binary @scan.png http://127.0.0.1:8000/predict",
    )
)
def serve(
    bundle: options.BundleFolder,
    host: Annotated[str, typer.Option(help="Address to listen on; there is no authentication.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0: all cores.")] = 0,
    max_mb: Annotated[int, typer.Option(min=1, max=4096, help="Largest request, MB.")] = 64,
    max_connections: Annotated[int, typer.Option(min=1, max=65535, help="At once; above it 503.")] = 32,
) -> None:
    """Serve a bundle over HTTP.

    POST /predict takes an image as the body, or several as multipart/form-data. GET /healthz, /metadata and /docs.
    """
    from medtune.config.errors import InputError
    from medtune.serving.bundle import Bundle, BundleError
    from medtune.serving.http import serve as run

    try:
        loaded = Bundle.load(bundle, precision, provider, threads)
        print(f"{precision} on {', '.join(loaded.providers)}", file=sys.stderr, flush=True)
        run(loaded, host, port, max_mb << 20, max_connections)
    except BundleError as error:
        raise InputError(str(error)) from error
