"""Small folders of pictures, the real data stage on them, and what it wrote."""

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

SIZE = 32


def textures(n: int, seed: int, size: int = SIZE) -> list[Any]:
    """`n` smooth pictures of random colours, no two alike."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), np.uint8)
    return [Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC) for one in coarse]


def command(words: dict[str, Any], out: Path) -> tuple[int, str]:
    """`medtune data` in this process: its exit code and what it wrote on stderr."""
    from medtune.cli.main import call

    sets = [f"--set={key}={json.dumps(value)}" for key, value in words.items()]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = call(["data", *sets, f"--out={out}"])
    return code, errors.getvalue()


def words(source: str, root: Path, protocol: str, **more: Any) -> dict[str, Any]:
    """`--set` values of the data stage on `root`."""
    return {
        "data.source": source,
        **({"data.positive": "yes"} if source == "folder" else {}),
        "data.root": str(root),
        "data.image_size": SIZE,
        "data.split.protocol": protocol,
        "data.split.test_fold": "all",
        "data.split.allow_missing_classes": True,
        "model.backbone": "test_efficientnet",
        "model.backbone_args": {},
        **more,
    }


def write_table(root: Path, rows: list[tuple[str, str, str]]) -> None:
    """data.csv of path, label, group."""
    with (root / "data.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "group"), *rows])


def manifest(out: Path) -> tuple[list[dict[str, str]], list[list[str]], dict[str, Any], dict[str, Any]]:
    """Rows of manifest.csv, their roles, dataset.json and report.json."""
    folder = out / "data" / "prepared"
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chains = sum(name.startswith("role_") for name in rows[0])
    roles = [[row[f"role_{chain}"] for chain in range(chains)] for row in rows]
    info, report = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("dataset.json", "report.json"))
    return rows, roles, info, report


def apart(first: list[str], second: list[str]) -> bool:
    """Whether two rows are in different parts of some chain."""
    return any({a, b} < {"train", "val", "test"} and a != b for a, b in zip(first, second, strict=True))


def draw_set(root: Path, seed: int, patients: int, each: int) -> list[tuple[str, str, str]]:
    """PNGs and their rows: `patients` of two classes in turn, `each` pictures of every one."""
    root.mkdir(parents=True)
    rows = []
    for number, picture in enumerate(textures(patients * each, seed)):
        patient = number // each
        name = f"{number:03}.png"
        picture.save(root / name)
        rows.append((name, ("no", "yes")[patient % 2], f"P{patient}"))
    return rows
