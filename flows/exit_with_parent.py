"""Termination of a scheduled run together with the Prefect worker that started it.

A run that outlives its worker cannot be canceled, and `medtune services down` does not stop it.
"""

import logging
import os
import signal
import threading
import time

POLL_S = 0.2


def exit_with_worker() -> None:
    """Watch the worker in a thread, and send SIGTERM to this process when the worker has ended.

    Prefect's engine then marks the run as Crashed. The next run resumes from the checkpoints. The function does nothing
    if no worker started this process.
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

    The console is a pipe to the worker. After the worker has ended, the first message would end this process, before
    Prefect's engine can mark the run as Crashed.
    """
    from prefect.logging.handlers import PrefectConsoleHandler

    for logger in (logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))):
        for handler in logger.handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)
