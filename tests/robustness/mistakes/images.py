"""Invalid folders and tables of images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.robustness.mistakes.mistake import Mistake, Words, mistakes

# Two classes, three patients, two images each.
NAMES = [f"{label}/P{patient}_{i}.png" for label in "ab" for patient in range(3) for i in range(2)]
ROWS = "".join(f"{name},{name[0]},{name[0]}{name[3]},1\n" for name in NAMES)
BY_NAME = "data.patient_pattern='/(P[0-9])_'"
THREE_FOLDS = "data.split.folds=3"
TABLES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "no-label": ("path,group\na/P0_0.png,1\n", ("no-label.csv", "'label' is missing")),
    "no-path": ("file,label\na/P0_0.png,1\n", ("no-path.csv", "'path' is missing", "file")),
    "no-header": ("a/P0_0.png,a,1\n", ("no-header.csv", "read as the header (columns: a/P0_0.png, a, 1)")),
    "empty": ("", ("empty.csv", "the file is empty")),
    "header-only": ("path,label,group\n", ("header-only.csv", "read as the header")),
    "short": ("path,label,group\na/P0_0.png,a\n", ("short.csv", "line 2", "3 fields")),
    "long": ("path,label,group\na/P0_0.png,a,1,2\n", ("long.csv", "line 2", "3 fields")),
    "no-value": ("path,label,group\na/P0_0.png,,1\n", ("no-value.csv", "line 2", "label is ''")),
    "nan": ("path,label,group\na/P0_0.png,a,nan\n", ("nan.csv", "line 2", "patient is 'nan'")),
    "absolute": ("path,label,group\n/etc/passwd,a,1\n", ("line 2", "/etc/passwd", "outside of data.root")),
    "outside": ("path,label,group\n../x.png,a,1\n", ("line 2", "../x.png", "outside of data.root")),
    "twice": ("path,label,group\na/P0_0.png,a,1\na/P0_0.png,b,1\n", ("a/P0_0.png", "twice")),
    "quote": ('path,label,group\n"a/P0_0.png,a,1\n', ("quote.csv", "not a valid CSV")),
    "latin": (b"path,label\n\xe9.png,a\n", ("latin.csv", "names a file that does not exist")),
    "reserved": (f"path,label,group,fold\n{ROWS}", ("'fold'", "Rename")),
    "missing": ("path,label,group,x\n" + ROWS.replace("a/P1_1", "a/P9_9"), ("a/P9_9.png",)),
}


def image_folders(folder: Path) -> Iterator[Mistake]:
    """Yield folders and tables of images that cannot be prepared."""
    root = draw(folder / "right", *NAMES)
    for name, (content, _) in TABLES.items():
        (root / f"{name}.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    text, zero, truncated, copied = (draw(folder / name, *NAMES) for name in ("text", "zero", "truncated", "copied"))
    (text / NAMES[3]).write_bytes(b"no image")
    (zero / NAMES[3]).write_bytes(b"")
    (truncated / NAMES[3]).write_bytes((root / NAMES[0]).read_bytes()[:40])
    (copied / NAMES[2]).write_bytes((root / NAMES[0]).read_bytes())
    (draw(folder / "no-images", "a/x.png") / "b").mkdir()
    five_patients = [f"a/P{patient}_0.png" for patient in range(5)]
    folders: dict[Any, tuple[str, ...]] = {
        "null": ("data.root=null",),
        folder / "nonesuch": ("data.root", "nonesuch", "no such path"),
        root / NAMES[0]: ("P0_0.png", "needs a folder"),
        draw(folder / "empty"): ("empty", "no images"),
        folder / "no-images": ("b", "has no images"),
        (draw(folder / "one", *NAMES[:6]), BY_NAME): ("all images have class a",),
        draw(folder / "flat", "x.png", "a/y.png"): ("x.png", "not in a class folder"),
        (draw(folder / "scarce", *five_patients, "b/P7_0.png"), BY_NAME, THREE_FOLDS): (
            "the train split has only images of class 'a'",
        ),
        (text, BY_NAME): (NAMES[3], "cannot be used"),
        (zero, BY_NAME): (NAMES[3], "cannot be used"),
        (truncated, BY_NAME): (NAMES[3], "cannot be used"),
        (copied, BY_NAME, THREE_FOLDS): ("identical images", NAMES[0]),
    }
    settings: dict[Any, Words] = {
        (BY_NAME, "data.positive=null"): ("data.positive", "a and b"),
        (BY_NAME, "data.positive=c"): ("data.positive=c", "no such class"),
        (): ("data.split.protocol=patient", "no patient ids"),
        (BY_NAME, "data.split.folds=5"): ("data.split.folds=5", "3 patients"),
        ("data.split.protocol=image", "data.split.folds=20"): "data.split.folds=20",
        "data.split.protocol=official": ("official", "no published split"),
        (BY_NAME, "data.class_names=[a, c]"): ("'b'", "data.class_names"),
        (BY_NAME, "data.class_names=[a, b, c]", "data.positive=null"): "no image has class c",
        "data.patient_pattern='(Q[0-9])'": ("data.patient_pattern", "finds no patient"),
        "data.patient_pattern=P": ("data.patient_pattern", "(...)"),
        "data.patient_pattern='('": ("data.patient_pattern", "regular expression"),
        "data.class_names=[a, a]": ("data.class_names", "each once"),
        "data.csv=absent.csv": ("data.csv", "absent.csv"),
        **{(f"data.csv={name}.csv", THREE_FOLDS): expected for name, (_, expected) in TABLES.items()},
    }
    options = ("--params", "small.yaml", "--set", "data.source=folder", "--set", "data.positive=b")
    for first, expected in folders.items():
        path, *rest = first if isinstance(first, tuple) else (first,)
        yield from mistakes("data", {(f"data.root={path}", *rest): expected}, *options, sets=True)
    yield from mistakes("data", settings, *options, "--set", f"data.root={root}", sets=True)
    for source in ("breakhis", "hcrf", "medmnist"):
        for path in (folder / "empty", "/nonesuch"):
            row = {(f"data.source={source}", f"data.root={path}"): ("data.root", str(path))}
            yield from mistakes("data", row, "--params", "small.yaml", sets=True)


def draw(root: Path, *names: str) -> Path:
    """Write small images of different colors and return their folder."""
    root.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (i * 7 % 256, i * 31 % 256, 40)).save(root / name)
    return root
