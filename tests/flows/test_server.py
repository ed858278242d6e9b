"""Test of the exit of a run whose server has stopped."""

import subprocess
import sys

import pytest

from medtune.config.project import PROJECT


@pytest.mark.parametrize(("server_lost", "code"), [(True, 3), (False, 5)])
def test_exit_without_server__exits_only_without_a_server(server_lost, code):
    # The thread waits like Prefect's threads at exit; without a server the process must not wait for it.
    script = (
        "import sys, threading\nfrom medtune.flows import server\n"
        f"server._server_lost = {server_lost}\nthreading.Thread(target=threading.Event().wait, args=[2]).start()\n"
        "print('output')\nserver.exit_without_server(3)\nsys.exit(5)"
    )
    process = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stdout) == (code, "output\n")
