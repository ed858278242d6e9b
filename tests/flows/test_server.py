"""Test of the exit of a run whose server has stopped."""

import subprocess
import sys

import pytest

from medtune.config.project import PROJECT


@pytest.mark.parametrize(("gone", "code"), [(True, 3), (False, 5)])
def test_exit_without_server__exits_only_without_a_server(gone, code):
    # The thread waits like Prefect's threads at exit; without a server the process must not wait for it.
    script = (
        "import sys, threading\nfrom medtune.flows import server\n"
        f"server._server_lost = {gone}\nthreading.Thread(target=threading.Event().wait, args=[2]).start()\n"
        "print('said')\nserver.exit_without_server(3)\nsys.exit(5)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "said\n")
