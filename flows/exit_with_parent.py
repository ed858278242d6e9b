"""A scheduled run ends with the worker that started it, and is marked.

Nobody could cancel it any more, and `services down` would leave it.
"""

import logging
import os
import signal
import threading
import time

POLL_S = 0.2


def exit_with_worker() -> None:
    """Ends this process, as SIGTERM does, once the worker that started it for a flow run is gone.

    Prefect's engine then marks the run as Crashed; what is trained so far is kept, and the next run goes on from
    there. Does nothing where no worker started this process.
    """
    if not os.environ.get("PREFECT__FLOW_RUN_ID"):
        return
    _remove_console_handlers()
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _remove_console_handlers() -> None:
    """Prefect's log lines go to its record and our log file alone.

    Its console handler ends the process at the first line that a worker no longer reads, and the engine writes one
    before it marks a run as Crashed.
    """
    from prefect.logging.handlers import PrefectConsoleHandler

    for logger in (logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))):
        for handler in logger.handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)
