"""Damaged, odd and hostile image files through the data stage, `predict` and the service.

The data stage is a process of its own; what it held at most is read when it ends. Of a file that is cut off, and of a
PNG, which carries checksums, nothing may be kept but the whole picture; other formats cannot tell a flipped pixel.
"""

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torture.hostile import data_stage
from torture.outcome import Outcome

if TYPE_CHECKING:
    from torture.hostile.picture import Picture

NUMBER = 4
TITLE = "image files that are truncated, flipped, renamed, empty, odd, bombs or links"
TARGET = "10,000 images: 0 crashes, 0 hangs; kept + rejected = input, each rejection named; memory < 2 GB"
EACH = 1000
LIMIT_BYTES = 2e9


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Blocks of files by the first one's number."""
    if not full:
        return {"few": {"first": 0, "count": 120, "apart": False}}
    return {f"from-{first}": {"first": first, "count": EACH, "apart": True} for first in range(0, 10 * EACH, EACH)}


def inject(folder: Path, first: int, count: int, apart: bool) -> Outcome:
    """Feeds `count` files to the data stage.

    Args:
        folder: empty.
        first: number of the first file.
        count: how many.
        apart: as a process of its own, with a few files that are as large as is allowed; else within this one.
    """
    from torture.hostile.large_pictures import KINDS

    outcome = Outcome()
    big = sorted(KINDS) if apart else []
    made = _write(folder / "root", first, count - len(big))
    for kind in big:  # drawn by another process: what this one held would count as the next one's
        name = f"a/{kind}.{'jpg' if 'cmyk' in kind else 'png'}"
        drawing = get_context("fork").Process(target=_write_large, args=(folder / "root" / name, kind))
        drawing.start()
        drawing.join()
        made[name] = None
    for what, fault in _rejecting(folder, made, outcome, apart).items():
        outcome.count(what, fault)
    for what, fault in _refusing(folder, made, apart).items():
        outcome.count(what, fault)
    small = {name: one for name, one in made.items() if one is not None}
    for what, fault in _asking(folder, small).items():
        if fault:  # the same files once more: counted once
            outcome.count(what, fault)
    return outcome


def _write(root: Path, first: int, count: int) -> dict[str, "Picture | None"]:
    import numpy as np

    from torture.hostile.picture import encode
    from torture.hostile.pictures import picture

    made: dict[str, Picture | None] = {}
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
    (root.parent / "outside.png").write_bytes(encode(np.full((9, 9, 3), 7, np.uint8)))
    (root / "a" / "anchor.png").write_bytes(encode(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)))
    for number in range(first, first + count):
        one = picture(number)
        name = f"{'ab'[number % 2]}/{number:05}-{one.kind}{one.suffix}"
        path = root / name
        if one.link and one.content == b"self":
            path.symlink_to(path.name)
        else:
            one.write(path)
        made[name] = one
    return made


def _write_large(path: Path, kind: str) -> None:
    from torture.hostile.large_pictures import write

    write(path, kind)


def _rejecting(folder: Path, made: dict[str, "Picture | None"], outcome: Outcome, apart: bool) -> dict[str, str | None]:
    """What became of each file under `on_bad_image: reject`."""
    code, held, said = data_stage.run(folder, "reject", apart)
    if held:
        outcome.figure("most memory, bytes", held)
    whole = None if held < LIMIT_BYTES else f"the data stage held {held:,} bytes"
    if code != 0:
        ended = f"did not end within {data_stage.HANGS_S:.0f} s" if code is None else f"ended with {code}"
        return dict.fromkeys(made, f"the data stage {ended}: {' | '.join(said.splitlines()[-3:])}")
    prepared = folder / "reject" / "data" / "prepared"
    report = json.loads((prepared / "report.json").read_text(encoding="utf-8"))
    rejected = {entry["path"]: entry["reason"] for entry in report["rejected"]}
    with (prepared / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        kept = {row["path"]: row["sha256"] for row in csv.DictReader(stream)}
    counts = report["n_found"], len(kept), len(rejected)
    if report["n_found"] != len(made) + 1 or (report["n_kept"], report["n_rejected"]) != counts[1:]:
        whole = f"{len(made) + 1} files, but found, kept and rejected are {counts}"
    outcome.figure("number of kept", len(kept) - 1)  # the anchor of the links is none of the faults
    outcome.figure("number of rejected", len(rejected))
    return {name: whole or _judge(name, one, kept, rejected) for name, one in made.items()}


def _judge(name: str, one: "Picture | None", kept: dict[str, str], rejected: dict[str, str]) -> str | None:
    from torture.hostile.pictures import EXACT

    if (name in kept) == (name in rejected):
        return "neither kept nor rejected" if name not in kept else "both kept and rejected"
    if name in rejected:
        reason = rejected[name]
        if not reason or "\n" in reason:
            return f"the reason is {reason!r}"
        return f"rejected: {reason}" if one is None or one.usable else None
    if one is None:
        return None
    if one.usable is False:
        return "kept"
    damaged = one.kind in EXACT and one.original is not None and kept[name] != _packed_sha256(one.original)
    return "kept, and is another picture than the undamaged one" if damaged else None


def _packed_sha256(content: bytes) -> str:
    import numpy as np

    from medtune.serving.decode import decode
    from medtune.serving.intensity import shrink, to_uint8

    pixels = to_uint8(shrink(decode(content), data_stage.SIZE, "squash"), (0.0, 65535.0))
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _refusing(folder: Path, made: dict[str, "Picture | None"], apart: bool) -> dict[str, str | None]:
    """The same files under `on_bad_image: error`: exit 2 and one line that names the first bad ones."""
    code, _, said = data_stage.run(folder, "error", apart)
    line = next((line for line in said.splitlines() if line.startswith("error: ")), "")
    named = any(name in line for name, one in made.items() if one is None or one.usable is not True)
    fault = (
        None
        if code == 2 and named and "Traceback" not in said
        else f"exit {code}: {' | '.join(said.splitlines()[-3:])}"
    )
    return {"on_bad_image: error": fault}


def _asking(folder: Path, made: dict[str, "Picture"]) -> dict[str, str | None]:
    """The same files as a consumer of the bundle gives them, by path and as a request's bytes."""
    from medtune.serving.bundle import Bundle
    from medtune.serving.http import predict_uploads
    from medtune.serving.predict import predict_files
    from torture.hostile.tiny_bundle import write_bundle

    bundle, root = Bundle.load(write_bundle(folder / "bundle"), threads=1), folder / "root"
    found: dict[str, str | None] = {}
    said = io.StringIO()
    paths = [root / name for name in made]
    with contextlib.redirect_stderr(said):
        predicted = {path for path, _ in predict_files(bundle, paths, workers=1)}
    skipped = [line.removeprefix("skipped ") for line in said.getvalue().splitlines()]
    reasons = {path: reason for path, _, reason in (line.partition(": ") for line in skipped)}
    for name, one in made.items():
        path = root / name
        if (path in predicted) == bool(reasons.get(str(path))):
            found[f"predict {name}"] = "neither predicted nor refused with a reason"
        elif one.usable is False and path in predicted and not one.link:
            found[f"predict {name}"] = "predicted"
    readable = [(name, one.content) for name, one in made.items() if one.content is not None and not one.link]
    for block in _blocks(readable, 64):
        for (name, _), entry in zip(block, predict_uploads(bundle, block), strict=True):
            if ("prediction" in entry) == bool(entry.get("error")):
                found[f"serve {name}"] = f"answered {entry}"
    return found


def _blocks(values: list[Any], size: int) -> Iterable[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
