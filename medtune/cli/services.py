"""`medtune services`: the Prefect server and worker of this project."""

from medtune.cli import options

app = options.program()


@app.callback(epilog=options.examples("medtune services up", "medtune services status", "medtune services down"))
def services() -> None:
    """Run the Prefect server and worker that retrain on schedule."""


@app.command(epilog=options.examples("medtune services up", "PREFECT_SERVER_API_PORT=4300 medtune services up"))
def up() -> None:
    """Start the server and the worker in the background, and deploy prefect.yaml.

    $PREFECT_SERVER_API_PORT is the server's port (4200), $MEDTUNE_DATABASE its database (SQLite under .cache). If
    $PREFECT_API_URL names a server elsewhere, only the worker is started.
    """
    from medtune.flows import services as run

    run.up()


@app.command(epilog=options.examples("medtune services down"))
def down() -> None:
    """Stop the worker, then the server.

    A run in progress ends as crashed, and the next one resumes it.
    """
    from medtune.flows import services as run

    run.down()


@app.command(epilog=options.examples("medtune services status"))
def status() -> None:
    """Show what is running and where; exit 1 if something is not."""
    from medtune.flows import services as run

    run.status()


@app.command(epilog=options.examples("medtune services server"))
def server() -> None:
    """Run the server in the foreground, for systemd and containers."""
    from medtune.flows import services as run

    run.server()


@app.command(epilog=options.examples("medtune services worker"))
def worker() -> None:
    """Run the worker in the foreground, for systemd and containers.

    It waits for the server, deploys prefect.yaml and takes runs.
    """
    from medtune.flows import services as run

    run.worker()


@app.command(epilog=options.examples("medtune services serve"))
def serve() -> None:
    """Run the deployments of prefect.yaml in the foreground, without a worker, until Ctrl-C.

    Uses the server that $PREFECT_API_URL names or `medtune services up` started; otherwise it starts one and stops it
    at the end. A run in progress at Ctrl-C ends as crashed, and the next one resumes it.
    """
    from medtune.flows.serve import serve as run

    run()
