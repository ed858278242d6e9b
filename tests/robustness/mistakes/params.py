"""Invalid params files, options and overrides; grids of benchmarks; remotes; recipes."""

from collections.abc import Iterator
from pathlib import Path

from medtune.config.project import PROJECT
from tests.robustness.mistakes.mistake import Mistake, Words, mistakes

# A thousand million x in half a kilobyte.
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
# Content and expected texts by file name.
FILES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "broken": ("seed: [1\n", ("broken.yaml", "line", "not valid YAML")),
    "list": ("- 1\n- 2\n", ("list.yaml", "mapping of sections", "found a list")),
    "empty": ("", ("empty.yaml", "has no sections")),
    "comment": ("# nothing\n", ("comment.yaml", "has no sections")),
    "word": ("hello\n", ("word.yaml", "found a single value")),
    "binary": (bytes(range(256)), ("binary.yaml",)),
    "latin": (b"data: {root: \xe9t\xe9}\n", ("latin.yaml", "UTF-8")),
    "utf16": ("seed: 1\n".encode("utf-16"), ("utf16.yaml", "UTF-8")),
    "nul": ("seed: \0\n", ("nul.yaml",)),
    "tab": ("data:\n\tsource: folder\n", ("tab.yaml", "line 2")),
    "twice": ("seed: 1\nseed: 2\n", ("twice.yaml", "seed")),
    "two": ("seed: 1\n---\nseed: 2\n", ("two.yaml line 2", "Keep only one")),
    "tag": ("seed: !!python/object/apply:os.getpid []\n", ("tag.yaml line 1", "tag !!python")),
    "unknown-tag": ("seed: !nonesuch 1\n", ("unknown-tag.yaml line 1", "tag !nonesuch")),
    "anchor": ("seed: *nowhere\n", ("anchor.yaml", "nowhere")),
    "bomb": (BOMB + "seed: *i\n", ("bomb.yaml",)),
    "bomb-in-section": (BOMB.replace("a: &a", "seed: &a").replace("\nb: ", "\nfrozen: "), ("bomb-in-section.yaml",)),
    "deep": ("seed: " + "[" * 900 + "]" * 900 + "\n", ("deep.yaml",)),
    "digits": (f"seed: {'9' * 5000}\n", ("digits.yaml", "more than 4,300 digits")),
    "number-key": ("1: 2\n", ("number-key.yaml: the key 1 is not text",)),
    "null-key": ("? \n: 2\n", ("null-key.yaml: the key null is not text",)),
    "list-key": ("? [a, b]\n: 2\n", ('list-key.yaml: the key ["a", "b"] is not text',)),
    "section": ("frozn: {epochs: 3}\n", ("frozn", "'frozen'")),
    "null-section": ("frozen:\n", ("frozen",)),
    "null-model": ("model:\n", ("model",)),
    "null-head": ("model: {head: }\n", ("model.head",)),
    "no-kind": ("model: {head: []}\n", ("model.head",)),
    "merge": ("<<: 3\n", ("merge.yaml line 1: <<",)),
    "date": ("seed: 2026-11-22\n", ("seed", "2026")),
    "float": ("seed: 1e999\n", ("seed",)),
    "sexagesimal": ("seed: 1:30\n", ("seed", "1:30")),
    "octal": ("seed: 0o9\n", ("seed", "0o9")),
}


def params_files(folder: Path) -> Iterator[Mistake]:
    """Yield invalid params files, overrides and options."""
    for name, (content, expected) in FILES.items():
        (folder / f"{name}.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        yield Mistake("train", ("--params", f"{name}.yaml"), expected)
    (folder / "folder.yaml").mkdir()
    yield from mistakes("train", {
        ("--params", "folder.yaml"): ("folder.yaml", "is a folder"),
        ("--params", "absent.yaml"): ("absent.yaml", "does not exist"),
        "--parms=x": "--parms",
        "--out": "--out",
        "extra": "extra",
        "--set": "--set",
    })  # fmt: skip
    yield from mistakes("train", {
        "no_equals": ("no_equals", "KEY=VALUE"),
        "=3": ("=3", "KEY=VALUE"),
        "data.=3": "data.",
        ".=3": ("'.=3'", "an empty part"),
        "seed.x=1": "seed",
        "a.b.c=1": ("a", "unknown key"),
        "data.root=[1": ("data.root", "not valid YAML"),
        "frozen=": "frozen",
        "seed=": "seed",
        "model.head.kind=": "model.head.kind",
        "data.split.folds=2": ("data.split.folds", "2"),
        "data.split.test_fold=7": ("data.split.test_fold=7", "0 to 4"),
        "data.split.protocol=hcrf-1-1-2": ("data.split.folds=5", "hcrf-1-1-2"),
        "data.split={test_fold: 1, val_fold: 1}": ("data.split.val_fold=1", "test fold"),
        "export.precisions=[fp16]": ("export.precisions", "fp32 is missing"),
        "export.precisions=[fp32, fp8]": ("export.precisions", "fp8"),
        "export.batch_sizes=[0]": ("export.batch_sizes", "0"),
        "export.batch_sizes=[true]": "export.batch_sizes.0=true",
        "frozen.class_weights={glands: 0}": ("frozen.class_weights", "0"),
        "frozen={feature_views: 8, augment: {dihedral: false}}": ("frozen.feature_views=8", "dihedral=false"),
        "model.backbone_args={x: .nan}": ("backbone_args.x=.nan", "finite"),
        "model.backbone_args={pretrained: true}": ("backbone_args.pretrained=true", "model.weights"),
        "model.normalization={mean: [0.5, 0.5], std: [1, 1, 1]}": "model.normalization.mean",
        "model.normalization={mean: [0, 0, 0], std: [1, 1, 0]}": ("model.normalization.std", "0"),
        "handoff.target=sftp://me:hunter2@host/x": ("handoff.target", "password"),
    }, sets=True)  # fmt: skip


def grids(folder: Path) -> Iterator[Mistake]:
    """Yield invalid files and options of `medtune benchmark`. A mistake that is not noticed trains nothing."""
    no_trials = ("--no-prefect", "--max-trials", "0")
    (folder / "grid-list.yaml").write_text("- 1\n", encoding="utf-8")
    (folder / "grid-number.yaml").write_text("benchmark: 3\n", encoding="utf-8")
    yield from mistakes("benchmark", {
        ("--grid", "grid-list.yaml"): ("grid-list.yaml", "found a list"),
        ("--grid", "grid-number.yaml"): "benchmark=3",
        ("--grid", "grid-absent.yaml"): ("grid-absent.yaml", "does not exist"),
        ("--only", "method"): ("--only", "FIELD=VALUE"),
        ("--only", "color=red"): ("--only", "unknown field 'color'", "method"),
        ("--only", "method=lorra"): ("--only", "'lorra'", "did you mean 'lora'"),
        ("--only", "percent=55"): ("--only", "'55'", "10, 100"),
        ("--only", "method=lora", "--only", "backbone=nonesuch"): ("--only", "nonesuch"),
        ("--max-trials", "-1"): "--max-trials",
        ("--set", "frozen.epochs=0"): "frozen.epochs=0",
    }, *no_trials)  # fmt: skip
    grid: dict[str, Words] = {
        "methods=[linar]": ("methods=linar", "did you mean 'linear'"),
        "methods=[lora, lora]": ("benchmark.methods", "contains 'lora' twice"),
        "methods=[]": "benchmark.methods",
        "methods=[cdtm+nonesuch]": "methods=cdtm+nonesuch",
        "methods=[nonesuch+lora]": "methods=nonesuch+lora",
        "methods=[conv_adapter]": ("methods=conv_adapter", "does not support"),
        "methods=3": "benchmark.methods",
        "percent=[10]": ("benchmark.percent", "Use benchmark.train_percent"),
        "train_percent=[0]": ("benchmark.train_percent", "0"),
        "train_percent=[101]": ("benchmark.train_percent", "101"),
        "train_percent=[50, 50]": ("benchmark.train_percent", "contains 50 twice"),
        "train_percent=[many]": ("benchmark.train_percent", "many"),
        "train_percent=[true]": "benchmark.train_percent.0=true",
        "seeds=[-1]": ("benchmark.seeds", "-1"),
        "seeds=[]": "benchmark.seeds",
        "lr={lora: []}": "benchmark.lr",
        "lr={lora: [0]}": ("benchmark.lr", "0"),
        "lr={nonesuch: [0.1]}": ("benchmark.lr.nonesuch", "unknown method"),
        "head=liner": "benchmark.head=liner",
        "metric=f1": "benchmark.metric=f1",
        "replicates=5": ("benchmark.replicates", "5"),
        "min_steps=-1": ("benchmark.min_steps", "-1"),
        "threads=0": ("benchmark.threads", "0"),
        "retries=9": ("benchmark.retries", "9"),
        "runner={kind: slurm}": ("benchmark.runner", "slurm"),
        "runner={kind: dask}": "address",
        "runner={kind: dask, address: host}": ("runner.address=host", "tcp://"),
        "runner={kind: local, workers: 0}": ("workers", "0"),
        "data=[]": "benchmark.data",
        "data={x y: {source: synthetic}}": ("benchmark.data", "x y"),
        "data={x: {source: nonesuch}}": "benchmark.data.x.source=nonesuch",
        "backbones=[]": "benchmark.backbones",
        "backbones={test_vitt: {weights: none}}": "benchmark.backbones.test_vitt",
        "backbones={x: {backbone: test_vit, wieghts: none}}": ("benchmark.backbones.x.wieghts", "unknown key"),
        "nonesuch=1": ("benchmark.nonesuch", "unknown key"),
        "train_percnt=[10]": ("benchmark.train_percnt", "'train_percent'"),
    }
    yield from mistakes("benchmark", {f"benchmark.{key}": texts for key, texts in grid.items()}, *no_trials, sets=True)


def remotes(_: Path) -> Iterator[Mistake]:
    """Yield invalid arguments of `medtune remote`."""
    yield from mistakes("remote", {
        (): "URL is missing",
        "nonesuch://host/x": "unknown scheme nonesuch://",
        "me@host:/path": "did you mean ssh://",
        "s3:bucket/path": "did you mean s3://",
        "s3://": "no host or bucket",
        "s3://key:secret@bucket/x": "AWS_ACCESS_KEY_ID",
        "ssh://me:hunter2@host/x": ("secret", "***"),
        "ssh://host:port/x": "not a valid URL",
        str(PROJECT / "store"): "the folder is in the project",
        "/dev/null/x": ("/dev/null/x: /dev/null is not a folder", "Nothing was changed"),
        ("ssh://host/x", "--endpoint", "http://x"): "--endpoint",
        ("s3://bucket/x", "--endpoint", "host"): "--endpoint",
        ("/tmp/x", "--name", "a b"): '--name="a b"',
    })  # fmt: skip


def recipes(folder: Path) -> Iterator[Mistake]:
    """Yield invalid arguments of `medtune params`. The params file must not change."""
    (folder / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    (folder / "wrong.yaml").write_text("frozen: {epochs: none}\n", encoding="utf-8")
    to = ("--to", "params.yaml")
    yield from mistakes("params apply", {
        to: "nothing to apply",
        (str(folder / "absent.yaml"), *to): ("absent.yaml: no such file", "`medtune recipes`"),
        ("wrong.yaml", *to): "frozen.epochs=none",
        ("--set", "frozen.epochs=0", *to): "frozen.epochs=0",
        ("--set", "data.source=folder", "--set", "data.root=/nonesuch", *to): "data.root=/nonesuch",
        ("--set", "seed", *to): "KEY=VALUE",
        ("--set", "seed=2", "--to", "absent.yaml"): ("absent.yaml", "does not exist"),
    })  # fmt: skip
    yield from mistakes("params check", {
        ("--params", "wrong.yaml"): "frozen.epochs=none",
        ("--set", "frozen.epoch=3"): ("frozen.epoch", "'epochs'"),
    })  # fmt: skip
    yield from mistakes("params set", {("frozen.epochs=0", *to): "frozen.epochs=0"})
    yield from mistakes("params explain", {"model.haed": ("model.haed", "'head'")})
