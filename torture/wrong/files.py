"""Wrong files: params, tables and folders of images, weights, and the settings that do not fit what is there."""

from collections.abc import Iterator
from pathlib import Path

from torture.wrong.expected_errors import Case

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)  # a thousand million x in half a kilobyte


def params_files(folder: Path) -> Iterator[Case]:
    """Files and words that are no params."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dir.yaml").mkdir()
    tables: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
        "broken": ("seed: [1\n", ("broken.yaml", "line", "not valid YAML")),
        "list": ("- 1\n- 2\n", ("list.yaml", "expected sections", "list")),
        "empty": ("", ("empty.yaml", "expected sections")),
        "comment": ("# nothing\n", ("comment.yaml", "expected sections")),
        "word": ("hello\n", ("word.yaml", "expected sections")),
        "binary": (bytes(range(256)), ("binary.yaml",)),
        "latin": (b"data: {root: \xe9t\xe9}\n", ("latin.yaml", "UTF-8")),
        "utf16": ("seed: 1\n".encode("utf-16"), ("utf16.yaml", "UTF-8")),
        "nul": ("seed: \0\n", ("nul.yaml",)),
        "tab": ("data:\n\tsource: folder\n", ("tab.yaml", "line 2")),
        "twice": ("seed: 1\nseed: 2\n", ("twice.yaml", "seed")),
        "two": ("seed: 1\n---\nseed: 2\n", ("two.yaml",)),
        "tag": ("seed: !!python/object/apply:os.getpid []\n", ("seed",)),
        "unknown-tag": ("seed: !nonesuch 1\n", ("seed",)),
        "anchor": ("seed: *nowhere\n", ("anchor.yaml", "nowhere")),
        "bomb": (BOMB + "seed: *i\n", ("bomb.yaml",)),
        "bomb-in-place": (BOMB.replace("a: &a", "seed: &a").replace("\nb: ", "\nfrozen: "), ("bomb-in-place.yaml",)),
        "deep": ("seed: " + "[" * 900 + "]" * 900 + "\n", ("deep.yaml",)),
        "digits": (f"seed: {'9' * 5000}\n", ("digits.yaml",)),
        "number-key": ("1: 2\n", ("1: unknown key",)),
        "null-key": ("? \n: 2\n", ("None: unknown key",)),
        "list-key": ("? [a, b]\n: 2\n", ("'a', 'b'", "unknown key")),
        "section": ("frozn: {epochs: 3}\n", ("frozn", "'frozen'")),
        "null-section": ("frozen:\n", ("frozen",)),
        "null-model": ("model:\n", ("model",)),
        "null-head": ("model: {head: }\n", ("model.head",)),
        "no-kind": ("model: {head: []}\n", ("model.head",)),
        "merge": ("<<: 3\n", ("merge.yaml",)),
        "date": ("seed: 2026-11-22\n", ("seed", "2026")),
        "float": ("seed: 1e999\n", ("seed",)),
        "sexagesimal": ("seed: 1:30\n", ("seed", "1:30")),
        "octal": ("seed: 0o9\n", ("seed", "0o9")),
    }
    for name, (content, says) in tables.items():
        path = folder / f"{name}.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        yield Case(f"--params {name}.yaml", "train", ("--params", str(path)), says)
    for name in ("dir.yaml", "absent.yaml"):
        yield Case(f"--params {name}", "train", ("--params", str(folder / name)), (name, "does not exist"))
    for word, says in {
        "no_equals": ("no_equals", "section.key=value"),
        "=3": ("=3", "section.key=value"),
        "data.=3": ("data.",),
        ".=3": ("unknown key",),
        "seed.x=1": ("seed",),
        "a.b.c=1": ("a", "unknown key"),
        "data.root=[1": ("data.root", "not valid YAML"),
        "frozen=": ("frozen",),
        "seed=": ("seed",),
        "model.head.kind=": ("model.head.kind",),
        "data.split.folds=2": ("data.split.folds", "2"),
        "data.split.test_fold=7": ("data.split.test_fold=7", "0 to 4"),
        "data.split.protocol=hcrf-1-1-2": ("data.split.folds=5", "hcrf-1-1-2"),
        "data.split={test_fold: 1, val_fold: 1}": ("data.split.val_fold=1", "test fold"),
        "export.precisions=[fp16]": ("export.precisions", "fp32 is missing"),
        "export.precisions=[fp32, fp8]": ("export.precisions", "fp8"),
        "export.batch_sizes=[0]": ("export.batch_sizes", "0"),
        "export.batch_sizes=[true]": ("export.batch_sizes",),
        "frozen.class_weights={glands: 0}": ("frozen.class_weights", "0"),
        "frozen={feature_views: 8, augment: {dihedral: false}}": ("frozen.feature_views=8", "dihedral=false"),
        "model.backbone_args={x: .nan}": ("backbone_args", "finite"),
        "model.backbone_args={pretrained: true}": ("backbone_args.pretrained=true", "model.weights"),
        "model.normalization={mean: [0.5, 0.5], std: [1, 1, 1]}": ("model.normalization.mean",),
        "model.normalization={mean: [0, 0, 0], std: [1, 1, 0]}": ("model.normalization.std", "0"),
        "handoff.target=sftp://me:hunter2@host/x": ("handoff.target", "password"),
    }.items():
        yield Case(f"--set {word}", "train", ("--set", word), says)
    for words, says in {
        ("--parms", "x"): ("--parms",),
        ("--out",): ("--out",),
        ("extra",): ("extra",),
        ("--set",): ("--set",),
    }.items():
        yield Case(" ".join(words), "train", words, says)


def image_folders(folder: Path, small: Path) -> Iterator[Case]:
    """Folders and tables of images that are not as they must be."""
    from PIL import Image

    def pictures(name: str, *paths: str) -> Path:
        place = folder / name
        for number, path in enumerate(paths):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (number * 7 % 256, number * 31 % 256, 40)).save(place / path)
        place.mkdir(parents=True, exist_ok=True)
        return place

    two = [f"{label}/P{p}_{i}.png" for label in ("a", "b") for p in range(3) for i in range(2)]

    def asked(name: str, root: Path | str, says: tuple[str, ...], *sets: str) -> Case:
        words = ("--params", str(small), "--set", "data.source=folder", "--set", f"data.root={root}", "--set",
                 "data.positive=b")  # fmt: skip
        return Case(f"images: {name}", "data", (*words, *(w for one in sets for w in ("--set", one))), says)

    by_name, image = "data.patient_pattern='/(P[0-9])_'", "data.split.protocol=image"
    right = pictures("right", *two)
    yield asked("no root", "null", ("data.root=null",))
    yield asked("no such root", folder / "nowhere", ("data.root", "nowhere", "no such path"))
    yield asked("a file as root", right / two[0], ("P0_0.png", "needs a folder"))
    yield asked("empty root", pictures("empty"), ("empty", "no images"))
    pictures("hollow", "a/x.png")
    (folder / "hollow" / "b").mkdir()
    yield asked("a class folder without images", folder / "hollow", ("b", "has no images"))
    yield asked("no positive class", right, ("data.positive", "a and b"), by_name, "data.positive=null")
    yield asked(
        "a positive class that is none", right, ("data.positive=c", "no such class"), by_name, "data.positive=c"
    )
    yield asked("one class", pictures("one", *two[:6]), ("one class", "a"), by_name)
    yield asked("images in no class folder", pictures("flat", "x.png", "a/y.png"), ("x.png", "not in a class folder"))
    yield asked("no patients", right, ("names no patients",))
    yield asked("fewer patients than folds", right, ("data.split.folds=5", "3 patients"), by_name,
                "data.split.folds=5")  # fmt: skip
    scarce = pictures("scarce", *(f"a/P{p}_0.png" for p in range(5)), "b/P7_0.png")
    yield asked("a class that a part lacks", scarce, ("b", "allow_missing_classes=true"), by_name, "data.split.folds=3")
    yield asked("more folds than images", right, ("data.split.folds=20",), image, "data.split.folds=20")
    yield asked("no published split", right, ("official", "no published split"), "data.split.protocol=official")
    yield asked("a label outside class_names", right, ("'b'", "data.class_names"), by_name, "data.class_names=[a, c]")
    yield asked("a class without images", right, ("no images of class c",), by_name, "data.class_names=[a, b, c]",
                "data.positive=null")  # fmt: skip
    yield asked("a pattern that finds nothing", right, ("data.patient_pattern", "finds no patient"),
                "data.patient_pattern='(Q[0-9])'")  # fmt: skip
    yield asked("a pattern without a group", right, ("data.patient_pattern", "(...)"), "data.patient_pattern=P")
    yield asked("no pattern", right, ("data.patient_pattern", "regular expression"), "data.patient_pattern='('")
    yield asked("a class twice", right, ("data.class_names", "each once"), "data.class_names=[a, a]")
    for name, content in {"text": b"no image", "zero": b"", "cut": (right / two[0]).read_bytes()[:40]}.items():
        place = pictures(f"bad-{name}", *two)
        (place / two[3]).write_bytes(content)
        yield asked(f"{name} as an image", place, (two[3], "cannot be used"), by_name)
    twins = pictures("twins", *two)
    (twins / two[2]).write_bytes((twins / two[0]).read_bytes())
    yield asked("one image under two patients", twins, ("identical images", two[0]), by_name,
                "data.split.folds=3")  # fmt: skip
    yield from _tables(right, asked)
    for source in ("breakhis", "hcrf", "medmnist"):
        words = ("--params", str(small), "--set", f"data.source={source}", "--set", f"data.root={folder / 'empty'}")
        yield Case(f"images: empty root for {source}", "data", words, ("data.root", "empty"))
        words = ("--params", str(small), "--set", f"data.source={source}", "--set", "data.root=/nonesuch")
        yield Case(f"images: no root for {source}", "data", words, ("data.root", "/nonesuch"))


def _tables(root: Path, asked: "object") -> Iterator[Case]:
    tables = {
        "no-label": ("path,group\na/P0_0.png,1\n", ("no column label",)),
        "no-path": ("file,label\na/P0_0.png,1\n", ("no column path", "file")),
        "no-header": ("a/P0_0.png,a,1\n", ("no column path",)),
        "empty": ("", ("no column path",)),
        "header-only": ("path,label,group\n", ("no images",)),
        "short": ("path,label,group\na/P0_0.png,a\n", ("line 2", "3 fields")),
        "long": ("path,label,group\na/P0_0.png,a,1,2\n", ("line 2", "3 fields")),
        "no-value": ("path,label,group\na/P0_0.png,,1\n", ("line 2", "label is ''")),
        "nan": ("path,label,group\na/P0_0.png,a,nan\n", ("line 2", "group is 'nan'")),
        "absolute": ("path,label,group\n/etc/passwd,a,1\n", ("line 2", "/etc/passwd", "outside of data.root")),
        "outside": ("path,label,group\n../x.png,a,1\n", ("line 2", "../x.png", "outside of data.root")),
        "twice": ("path,label,group\na/P0_0.png,a,1\na/P0_0.png,b,1\n", ("a/P0_0.png", "twice")),
        "quote": ('path,label,group\n"a/P0_0.png,a,1\n', ("not a CSV",)),
    }
    for name, (text, says) in tables.items():
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
        yield asked(f"table {name}", root, (f"{name}.csv" if name != "header-only" else "right", *says),
                    f"data.csv={name}.csv")  # type: ignore[operator]  # fmt: skip
    (root / "latin.csv").write_bytes(b"path,label\n\xe9.png,a\n")
    yield asked("table not in UTF-8", root, ("latin.csv", "do not exist"), "data.csv=latin.csv")  # type: ignore[operator]
    yield asked("no such table", root, ("data.csv", "absent.csv"), "data.csv=absent.csv")  # type: ignore[operator]
    rows = "".join(f"{label}/P{p}_{i}.png,{label},{label}{p},1\n" for label in "ab" for p in range(3) for i in range(2))
    (root / "taken.csv").write_text("path,label,group,fold\n" + rows)
    yield asked("a column named as ours", root, ("'fold'", "rename"), "data.csv=taken.csv",
                "data.split.folds=3")  # type: ignore[operator]  # fmt: skip
    (root / "gone.csv").write_text("path,label,group,x\n" + rows.replace("a/P1_1", "a/P9_9"))
    yield asked("a row without its image", root, ("a/P9_9.png",), "data.csv=gone.csv",
                "data.split.folds=3")  # type: ignore[operator]  # fmt: skip
