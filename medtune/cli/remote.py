"""`medtune remote`: the DVC remote."""

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
    url: Annotated[str | None, typer.Argument(help="/path, ssh://host/path, s3://bucket/path, ...")] = None,
    name: Annotated[str, typer.Option(help="What DVC calls it.")] = "storage",
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="With s3://, your own server instead of Amazon's.")
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Write to .dvc/config.local, which is not committed: for this clone alone.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show what is set; change nothing.")] = False,
) -> None:
    """Set the DVC remote for data and results.

    Every file is verified when it is pulled. Nothing is changed unless a small file can be written there, read back
    and deleted.
    """
    from medtune.registry.remote import configure_remote as run

    run(url, name, endpoint, local, show)
