"""Processes that train together and share one import of torch, which takes each of them longer than its training.

`python -m tests.forked_ranks COUNT TIMES FOLDER SHARED MODULE WORDS...` runs a module as COUNT ranks, TIMES times one
after the other. SHARED are the modules that are imported before. What rank R prints goes to FOLDER/TIME-R.txt.
"""

import importlib
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from medtune.config.project import PROJECT


def run_ranks(
    folder: Path, *words: str, count: int = 2, times: int = 1, shared: Sequence[str] = (), **environment: str
) -> list[list[str]]:
    """What each rank printed, time by time.

    Args:
        folder: where their output goes; it is created.
        words: the module and its arguments.
        count: number of ranks.
        times: how often they run.
        shared: further modules that all of them import.
        environment: of the ranks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "MEDTUNE_DEVICE": "cpu"}
    common |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    modules = ",".join(["timm", "accelerate", "torch._dynamo", *shared])
    command = [sys.executable, "-m", "tests.forked_ranks", str(count), str(times), str(folder), modules, *words]
    process = subprocess.Popen(
        command, cwd=PROJECT, env={**os.environ, **common, **environment}, start_new_session=True
    )
    try:
        code = process.wait(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # ranks that wait for one that died
        process.wait()
    texts = {path.stem: path.read_text() for path in folder.glob("*.txt")}
    assert code == 0, {name: text[-3000:] for name, text in texts.items()}
    return [[texts[f"{time}-{rank}"] for rank in range(count)] for time in range(times)]


def main(count: int, times: int, folder: Path, shared: str, words: list[str]) -> int:
    """Fork the ranks so many times; return how many of the last ones failed."""
    for name in shared.split(","):
        importlib.import_module(name)
    failed = 0
    for time in range(times):
        ranks = []
        for rank in range(count):
            if (process := os.fork()) == 0:
                _run(rank, folder / f"{time}-{rank}.txt", *words)
            ranks.append(process)
        if failed := sum(os.waitpid(process, 0)[1] != 0 for process in ranks):
            break
    return failed


def _run(rank: int, printed: Path, module: str, *words: str) -> None:
    """Run the module as one rank and end this process."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    sys.argv = [module, *words]
    code: object = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5:]))
