"""Damaged, unusual and hostile image files through the data stage, `medtune predict` and the service."""

import csv
import hashlib
import io
import json
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFile as PillowFile

from medtune.data import decoding
from medtune.serving.bundle import Bundle
from medtune.serving.decode import decode
from medtune.serving.http import predict_uploads
from medtune.serving.intensity import shrink, to_uint8
from medtune.serving.predict import predict_files
from tests.robustness.faults import Faults
from tests.robustness.images.kinds import ANCHOR, LARGE, ImageFile, write_files, write_large
from tests.robustness.images.stage import SIZE, run_data
from tests.robustness.isolated import isolated
from tests.robustness.profile import is_full, scale
from tests.robustness.tiny_bundle import write_bundle

pytestmark = pytest.mark.faults(
    row=4,
    title="an image file is cut off, empty, changed, very large, a link, or in a rare format",
    target="10,000 images: no crash and no hang. Each image is kept, or rejected with a reason. The memory stays "
    "below 2 GB",
)
N_FILES = scale(120, 1000)
MAX_MEMORY = 2e9


@pytest.mark.parametrize("block", range(scale(1, 10)))
def test_images__each_is_kept_unchanged_or_rejected_with_a_reason(faults, tmp_path, block):
    inject(tmp_path, block, faults)


def test_images__a_partial_image_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(PillowFile, "LOAD_TRUNCATED_IMAGES", True)
    assert any("differs from the undamaged image" in line for line in lost(tmp_path))


def test_images__a_followed_link_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding.DecodeJob, "decode", lambda job, apply_voi: decode(job.file))
    lines = lost(tmp_path)
    assert lines
    assert all("link-outside" in line and line.endswith(": kept") for line in lines)


def lost(folder):
    faults = Faults()
    inject(folder, 0, faults)
    return faults.lost


def inject(folder, block, faults):
    """Run the data stage, prediction and the service on one block of files."""
    large = {f"a/{name}": ImageFile(None, name[-4:], usable=True) for name in (LARGE if is_full() else [])}
    files = write_files(folder / "root", range(block * N_FILES, (block + 1) * N_FILES - len(large)))
    for name in large:
        isolated(write_large, folder / "root" / name)
    count_rejections(folder, files | large, faults)
    faults.count("on_bad_image: error", error_problem(folder, files))
    # The same files again, which do not count twice.
    faults.lost += prediction_problems(folder, files)


def count_rejections(folder, files, faults):
    """Run the data stage, which rejects unusable images, and count each file."""
    code, stderr, memory = run_data(folder, "reject")
    if memory:
        faults.measure("greatest memory in bytes", memory)
    problem, kept, rejected = None, {}, {}
    if code != 0:
        problem = f"the data stage ended with {code}: {stderr[-300:]}"
    elif memory > MAX_MEMORY:
        problem = f"the data stage used {memory:,} bytes"
    else:
        prepared = folder / "reject" / "data" / "prepared"
        report = json.loads((prepared / "report.json").read_text(encoding="utf-8"))
        rejected = {entry["path"]: entry["reason"] for entry in report["rejected"]}
        with (prepared / "manifest.csv").open(encoding="utf-8", newline="") as stream:
            kept = {row["path"]: row["sha256"] for row in csv.DictReader(stream)}
        counts = report["n_found"], report["n_kept"], report["n_rejected"]
        if counts != (len(files) + 1, len(kept), len(rejected)) or ANCHOR not in kept:
            problem = f"{len(files) + 1} files, but the report counts {counts}"
        faults.measure("number of kept images", len(kept) - 1)  # without the target of the links
        faults.measure("number of rejected images", len(rejected))
    for name, file in files.items():
        faults.count(name, problem or file_problem(file, kept.get(name), rejected.get(name)))


def file_problem(file, sha256, reason):
    """Return the problem with a file that was kept with this digest, or rejected for this reason."""
    if (sha256 is None) == (reason is None):
        return "neither kept nor rejected" if sha256 is None else "both kept and rejected"
    if sha256 is None:
        if not reason or "\n" in reason:
            return f"the reason is {reason!r}"
        return f"rejected: {reason}" if file.usable else None
    if file.usable is False:
        return "kept"
    is_changed = file.original is not None and sha256 != packed_sha256(file.original)
    return "kept, but differs from the undamaged image" if is_changed else None


def packed_sha256(content):
    pixels = to_uint8(shrink(decode(content), SIZE, "squash"), (0.0, 65535.0))
    return hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()


def error_problem(folder, files):
    """Return the problem with the data stage that must report the first unusable image, or None."""
    code, stderr, _ = run_data(folder, "error")
    line = next((line for line in stderr.splitlines() if line.startswith("error: ")), "")
    named = any(name in line for name, file in files.items() if not file.usable)
    return None if code == 2 and named and "Traceback" not in stderr else f"exit code {code}: {stderr[-300:]}"


def prediction_problems(folder, files):
    """Return a line per file that prediction or the service neither predicts nor refuses with a reason."""
    bundle, problems = Bundle.load(write_bundle(folder / "bundle"), threads=1), []
    paths = {str(folder / "root" / name): name for name in files}
    with redirect_stderr(io.StringIO()) as stderr:
        predicted = {str(path) for path, _ in predict_files(bundle, list(map(Path, paths)), workers=1)}
    lines = [line.removeprefix("skipped ").partition(": ") for line in stderr.getvalue().splitlines()]
    reasons = {path: reason for path, _, reason in lines}
    for path, name in paths.items():
        if (path in predicted) == bool(reasons.get(path)):
            problems.append(f"predict {name}: neither predicted nor refused with a reason")
        elif path in predicted and files[name].usable is False and "-link-" not in name:
            problems.append(f"predict {name}: predicted")
    uploads = [(name, file.content) for name, file in files.items() if file.content is not None]
    for start in range(0, len(uploads), 64):
        block = uploads[start : start + 64]
        for (name, _), answer in zip(block, predict_uploads(bundle, block), strict=True):
            if ("prediction" in answer) == bool(answer.get("error")):
                problems.append(f"serve {name}: {answer}")
    return problems
