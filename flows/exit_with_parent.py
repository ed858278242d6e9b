"""Termination of a scheduled run together with the worker that started it.

Without the worker, nobody could cancel the run, and `medtune services down` would not stop it.
"""

import logging
import os
import signal
import threading
import time

POLL_S = 0.2


def exit_with_worker() -> None:
    """Send SIGTERM to this process when the worker that started it for a flow run has ended.

    Prefect's engine then marks the run as Crashed. Checkpoints are kept, and the next run resumes. Does nothing if no
    worker started this process.
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
    """Silence Prefect's console handlers. Messages still go to the server and the log file.

    After the worker has ended, the console handler would end the process at its first message. Prefect's engine could
    then not mark the run as Crashed.
    """
    from prefect.logging.handlers import PrefectConsoleHandler

    for logger in (logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))):
        for handler in logger.handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)
