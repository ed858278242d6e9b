"""Command `medtune remote`."""

from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune remote /mnt/hospital/medtune",
        "medtune remote s3://bucket/medtune --endpoint https://s3.hospital.example",
        "medtune remote --show",
    )
)
def remote(
    url: Annotated[
        str | None, typer.Argument(help="URL of the remote: /path, ssh://host/path, s3://bucket/path, ...")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the DVC remote.")] = "storage",
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="With s3://: server to use instead of AWS.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Write to .dvc/config.local, which is not committed.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the current remote. Changes nothing.")] = False,
) -> None:
    """Set the DVC remote, the shared storage for data and results.

    The remote is a shared folder or server. `dvc push` and `dvc pull` copy
    data and results to it and from it.
    The command first writes, reads and deletes a small file there. If that
    fails, nothing is changed.
    """
    from medtune.registry.remote import configure_remote as run

    run(url, name, endpoint, local, show)
