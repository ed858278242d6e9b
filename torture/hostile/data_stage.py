"""The data stage on a folder of hostile images, in a process of its own or within this one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from medtune.config.project import PROJECT

SIZE = 16
# Pictures of a thousand take seconds; the machine may be busy with other things.
HANGS_S = 400.0
SETTINGS: dict[str, Any] = {
    "data": {"source": "folder", "positive": "b", "image_size": SIZE, "split": {"protocol": "image", "folds": 3}},
    "model": {"backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": SIZE}},
}


def run(folder: Path, on_bad_image: str, apart: bool) -> tuple[int | None, int, str]:
    """Exit code of the stage (None where it hangs), the most it held in bytes (0: unknown), and what it said.

    Args:
        folder: holds the images in `root`; settings and results go beside them.
        on_bad_image: error or reject.
        apart: as a process of its own, from its command line; else within this one.
    """
    settings, said = folder / f"{on_bad_image}.yaml", folder / f"{on_bad_image}.txt"
    data = {**SETTINGS["data"], "root": str(folder / "root"), "on_bad_image": on_bad_image}
    settings.write_text(json.dumps({**SETTINGS, "data": data}), encoding="utf-8")
    if not apart:
        return _within(settings, folder / on_bad_image)
    words = [
        sys.executable,
        "-m",
        "medtune",
        "data",
        "--params",
        str(settings),
        "--out",
        str(folder / on_bad_image),
    ]
    with said.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(words, cwd=PROJECT, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
        end, gone, status, usage = time.monotonic() + HANGS_S, 0, 0, None
        while not gone and time.monotonic() < end:
            gone, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0.1)
        if not gone:
            process.kill()
            _, status, usage = os.wait4(process.pid, 0)
        assert usage is not None
        process.returncode = os.waitstatus_to_exitcode(status)  # waited for already
    return process.returncode if gone else None, usage.ru_maxrss * 1024, said.read_text(encoding="utf-8")


def _within(settings: Path, out: Path) -> tuple[int, int, str]:
    from medtune.config.errors import InputError
    from medtune.config.load import load
    from medtune.runtime.paths import RunPaths
    from medtune.stages import data

    try:
        data.run(load(settings), RunPaths.from_env(out))
    except InputError as error:
        return 2, 0, f"error: {error}"
    return 0, 0, ""
