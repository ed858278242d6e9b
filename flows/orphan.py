"""A scheduled run ends with the worker that started it.

Nobody could cancel it, `services down` would not stop it, and its first printed line would find no reader and fail.
"""

import os
import signal
import threading
import time

EVERY_S = 0.2


def end_with_worker() -> None:
    """Ends this process, as SIGTERM does, once the worker that started it for a flow run is gone.

    Prefect's engine then marks the run as Crashed; what is trained so far is kept, and the next run goes on from
    there. Does nothing where no worker started this process.
    """
    if not os.environ.get("PREFECT__FLOW_RUN_ID"):
        return
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            time.sleep(EVERY_S)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # a line to a worker that is gone would end the run before it is marked
            os.dup2(nowhere, stream)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
