"""The same pictures again under other patients: in other files, or nearly the same, through the real data stage."""

from pathlib import Path
from typing import Any

from torture.leaky.listings import leaking
from torture.leaky.small_sets import apart, command, draw_set, manifest, words, write_table
from torture.outcome import Outcome

SIDE = 64


def stage(folder: Path, seed: int, outcome: Outcome) -> None:
    """A real data stage under each protocol in turn; what it reports against what its manifest holds."""
    protocol = ("patient", "image", "hcrf-1-1-2")[seed % 3]
    rows = draw_set(folder / "raw", seed, patients=8 + seed % 7, each=2 + seed % 3)
    if seed % 2:  # a patient with both classes
        rows = [(name, "yes" if number % 5 == 0 else label, group) for number, (name, label, group) in enumerate(rows)]
    write_table(folder / "raw", rows)
    asked = words("folder", folder / "raw", protocol, **{"data.csv": "data.csv", "data.split.folds": 4})
    outcome.count(f"data stage {seed}, {protocol}", _stage(folder, asked, protocol))


def _stage(folder: Path, asked: dict[str, Any], protocol: str) -> str | None:
    code, said = command(asked, folder / "out")
    if code:
        return f"ended with {code}: {said.strip()}"
    rows, roles, info, report = manifest(folder / "out")
    truth = leaking([row["patient"] for row in rows], roles, list(range(len(roles[0]))))
    if protocol == "patient" and truth:
        return f"{len(truth)} patients are in two parts"
    if set(info["leaked_patients"]) != truth or report["leaked_patients"] != info["leaked_patients"]:
        return f"{len(info['leaked_patients'])} patients are named as leaked, {len(truth)} are"
    return None


def twin(folder: Path, seed: int, outcome: Outcome) -> None:
    """The same pixels under two patients, as another file: refused where `patient` would part them, else reported."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(seed)
    root, name = folder / "raw", list(FORMATS)[seed % len(FORMATS)]
    rows = draw_set(root, seed, patients=9, each=3)
    original = rows[int(draw.integers(len(rows)))]
    other = str(draw.choice([f"P{n}" for n in range(9) if f"P{n}" != original[2]]))
    label = str(draw.choice(["no", "yes"]))
    suffix, options = FORMATS[name]
    copy = f"copy{suffix}"
    _save(Image.open(root / original[0]), root / copy, name, options)
    write_table(root, [*rows, (copy, label, other)])
    protocol = ("patient", "patient", "image")[seed % 3]
    code, said = command(words("folder", root, protocol, **{"data.csv": "data.csv"}), folder / "out")
    what = f"{name} of a picture of {original[2]} under {other}, {protocol}"
    outcome.count(what, _twin(folder, original, (copy, label, other), protocol, code, said, outcome))


def _twin(
    folder: Path, original: tuple[str, ...], copy: tuple[str, ...], protocol: str, code: int, said: str,
    outcome: Outcome,
) -> str | None:  # fmt: skip
    if code:
        if protocol != "patient" or code != 2:
            return f"ended with {code}: {said.strip()}"
        missing = [name for name in (original[0], copy[0]) if name not in said]
        if (
            missing
            or said.count("\n") != 1
            or not said.startswith("error: 1 identical images belong to different patients")
        ):
            return f"refused, but {missing or 'in other words'}: {said.strip()}"
        left = [path.name for path in (folder / "out" / "data").iterdir()] if (folder / "out" / "data").exists() else []
        outcome.figure("number of exact copies refused", 1)
        return f"refused, but left {left}" if left else None
    rows, roles, _, report = manifest(folder / "out")
    at = {row["path"]: place for place, row in enumerate(rows)}
    parted = apart(roles[at[original[0]]], roles[at[copy[0]]])
    if parted and protocol == "patient":
        return "the copy is in another part of a split, and nothing was said"
    exact = report["duplicates"]["exact"]
    right = {
        "sets": 1, "images": 2, "across_splits": int(parted), "with_different_labels": int(original[1] != copy[1]),
        "first": [{"paths": sorted([original[0], copy[0]]), "across_splits": parted}],
    }  # fmt: skip
    outcome.figure("number of exact copies reported", 1)
    return None if exact == right else f"report.json says {exact}, right is {right}"


# Lossless, each: the pixels are the same, the bytes are not.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": (".png", {"compress_level": 1}),
    "BMP": (".bmp", {}),
    "TIFF": (".tif", {"compression": "tiff_lzw"}),
    "WEBP": (".webp", {"lossless": True}),
    "RGBA": (".png", {}),
    "turned": (".png", {}),
}


def _save(picture: Any, path: Path, name: str, options: dict[str, Any]) -> None:
    if name == "RGBA":  # opaque
        picture.convert("RGBA").save(path)
    elif name == "turned":  # stored on its side, with the metadata that says so
        from PIL import Image

        exif = Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    else:
        picture.save(path, name, **options)


def near(folder: Path, seed: int, outcome: Outcome) -> None:
    """Copies that differ a little, under other patients: report.json names each of them."""
    from PIL import Image

    from medtune.data.sources.synthetic import TISSUES, draw

    root = folder / "raw"
    root.mkdir()
    pictures = [Image.fromarray(draw(TISSUES[n % 4], n, seed, SIDE, 1.0, 1)) for n in range(16)]
    rows = [(f"{n:03}.png", ("no", "yes")[n % 2], f"P{n}") for n in range(16)]
    for (name, _, _), picture in zip(rows, pictures, strict=True):
        picture.save(root / name)
    planted = {}
    for n, (what, change) in enumerate(CHANGES.items()):
        copy = f"copy-{n}{'.jpg' if 'JPEG' in what else '.png'}"
        change(pictures[n], root / copy)
        planted[what] = tuple(sorted((rows[n][0], copy)))
        rows.append((copy, rows[n][1], rows[(n + 5) % 16][2]))
    write_table(root, rows)
    more = {"data.csv": "data.csv", "data.split.folds": 4, "data.image_size": SIDE}
    code, said = command(words("folder", root, "patient", **more), folder / "out")
    if code:
        outcome.count(f"near copies {seed}", f"the data stage ended with {code}: {said.strip()}")
        return
    table, roles, _, report = manifest(folder / "out")
    at = {row["path"]: place for place, row in enumerate(table)}
    found = {tuple(sorted(pair["paths"])): pair for pair in report["duplicates"]["near"]["first"]}
    for what, pair in planted.items():
        told, parted = found.get(pair), apart(roles[at[pair[0]]], roles[at[pair[1]]])
        fault = "is not in report.json" if told is None else None
        if told is not None:
            outcome.figure("most bits that a near copy differs in", told["bits"])
            fault = None if told["across_splits"] == parted else f"across_splits is {told['across_splits']}"
        outcome.count(f"{what}, picture {seed}, {' and '.join(pair)}", fault)
    outcome.figure("number of pairs told that are no copies", len(found.keys() - set(planted.values())))


def _light(factor: float) -> Any:
    return lambda picture, path: picture.point(lambda value: min(255, round(value * factor))).save(path)


CHANGES: dict[str, Any] = {
    "JPEG of quality 95": lambda picture, path: picture.save(path, quality=95),
    "JPEG of quality 75": lambda picture, path: picture.save(path, quality=75),
    "JPEG of quality 50": lambda picture, path: picture.save(path, quality=50),
    "5 % brighter": _light(1.05),
    "5 % darker": _light(0.95),
    "saved 10 % smaller": lambda picture, path: picture.resize((58, 58)).save(path),
    "saved twice as large": lambda picture, path: picture.resize((128, 128)).save(path),
    "one grey level brighter": lambda picture, path: picture.point(lambda value: min(255, value + 1)).save(path),
}
