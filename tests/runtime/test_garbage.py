"""Garbage collection of the command line."""

import subprocess
import sys

from medtune.runtime import garbage


def test_collect_rarely__applies_to_the_command_line():
    script = (
        "import gc, sys; from medtune.cli import main\n"
        "sys.argv = ['medtune', '--version']\n"
        "try: main.main()\n"
        "except SystemExit: print(gc.get_threshold()[0])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == str(garbage.ALLOCATIONS_PER_COLLECTION)
