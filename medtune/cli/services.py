"""Command `medtune services`."""

from medtune.cli import options

app = options.program()


@app.callback(epilog=options.examples("medtune services up", "medtune services status", "medtune services down"))
def services() -> None:
    """Run the Prefect server and worker that retrain on schedule.

    The server stores runs and shows them in a dashboard.
    The worker starts the runs. prefect.yaml contains the schedule.
    """


@app.command(epilog=options.examples("medtune services up", "PREFECT_SERVER_API_PORT=4300 medtune services up"))
def up() -> None:
    """Start the server and the worker in the background, and deploy prefect.yaml.

    $PREFECT_SERVER_API_PORT is the port (default 4200).
    $MEDTUNE_DATABASE is the address of the database (default: SQLite).
    If $PREFECT_API_URL is the address of another server, only the worker is
    started.
    """
    from medtune.flows import services as run

    run.up()


@app.command(epilog=options.examples("medtune services down"))
def down() -> None:
    """Stop the worker, then the server.

    An active run is stopped and marked as Crashed. The next run resumes it.
    """
    from medtune.flows import services as run

    run.down()


@app.command(epilog=options.examples("medtune services status"))
def status() -> None:
    """Show the state and address of the services. Exits with code 1 if one is not running."""
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

    The worker waits for the server, deploys prefect.yaml, and starts runs.
    """
    from medtune.flows import services as run

    run.worker()


@app.command(epilog=options.examples("medtune services serve"))
def serve() -> None:
    """Run the services in the foreground until Ctrl-C, with the log of the worker.

    If no server runs and $PREFECT_API_URL is not set, a server is started
    and stopped at the end.
    Ctrl-C stops an active run and marks it as Crashed. The next run resumes
    it.
    """
    from medtune.flows import services as run

    run.serve()
