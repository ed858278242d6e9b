"""Mistakes in the benchmark's grid, in where data and bundles go, and in recipes."""

from collections.abc import Iterator
from pathlib import Path

from medtune.config.project import PROJECT
from torture.wrong.expected_errors import Case


def grids(folder: Path) -> Iterator[Case]:
    """benchmark.yaml and its options."""
    folder.mkdir(parents=True, exist_ok=True)
    none = ("--no-prefect", "--max-trials", "0")  # a mistake that is not seen costs no time
    for name, text, said in (
        ("list", "- 1\n", "expected sections"),
        ("none", "benchmark: 3\n", "no section benchmark"),
        ("absent", None, "does not exist"),
    ):
        path = folder / f"grid-{name}.yaml"
        if text is not None:
            path.write_text(text)
        yield Case(f"grid {name}", "benchmark", ("--grid", str(path), *none), (path.name, said))
    for value, says in {
        "methods=[linar]": ("methods=linar", "did you mean 'linear'"),
        "methods=[lora, lora]": ("methods contains 'lora' twice",),
        "methods=[]": ("benchmark.methods",),
        "methods=[cdtm+nonesuch]": ("methods=cdtm+nonesuch",),
        "methods=[nonesuch+lora]": ("methods=nonesuch+lora",),
        "methods=[conv_adapter]": ("methods=conv_adapter", "does not support"),
        "methods=3": ("benchmark.methods",),
        "percent=[0]": ("benchmark.percent", "0"),
        "percent=[101]": ("benchmark.percent", "101"),
        "percent=[50, 50]": ("percent contains 50 twice",),
        "percent=[many]": ("benchmark.percent", "many"),
        "percent=[true]": ("benchmark.percent",),
        "seeds=[-1]": ("benchmark.seeds", "-1"),
        "seeds=[]": ("benchmark.seeds",),
        "lr={lora: []}": ("benchmark.lr",),
        "lr={lora: [0]}": ("benchmark.lr", "0"),
        "lr={nonesuch: [0.1]}": ("benchmark.lr", "nonesuch"),
        "head=liner": ("liner",),
        "metric=f1": ("benchmark.metric", "'f1'"),
        "replicates=5": ("benchmark.replicates", "5"),
        "min_steps=-1": ("benchmark.min_steps", "-1"),
        "threads=0": ("benchmark.threads", "0"),
        "retries=9": ("benchmark.retries", "9"),
        "runner={kind: slurm}": ("benchmark.runner", "slurm"),
        "runner={kind: dask}": ("address",),
        "runner={kind: dask, address: host}": ("address is 'host'", "tcp://"),
        "runner={kind: local, workers: 0}": ("workers", "0"),
        "data=[]": ("benchmark.data",),
        "data={x y: {source: synthetic}}": ("benchmark.data", "x y"),
        "data={x: {source: nonesuch}}": ("nonesuch",),
        "backbones=[]": ("benchmark.backbones",),
        "backbones={test_vitt: {weights: none}}": ("test_vitt",),
        "backbones={x: {backbone: test_vit, wieghts: none}}": ("wieghts", "unknown key"),
        "nonesuch=1": ("benchmark.nonesuch", "unknown key"),
        "percnt=[10]": ("benchmark.percnt", "'percent'"),
    }.items():
        yield Case(f"grid {value}", "benchmark", ("--set", f"benchmark.{value}", *none), says)
    yield Case("grid: params too", "benchmark", ("--set", "frozen.epochs=0"), ("frozen.epochs=0",))
    for only, says in {
        "method": ("--only", "FIELD=VALUE"),
        "colour=red": ("--only", "method"),
        "method=lorra": ("--only", "'lorra'", "did you mean 'lora'"),
        "percent=55": ("--only", "'55'"),
    }.items():
        yield Case(f"grid --only {only}", "benchmark", ("--only", only, *none), says)
    both = ("--only", "method=lora", "--only", "backbone=nonesuch")
    yield Case("grid --only of nothing", "benchmark", both, ("--only", "nonesuch"))
    yield Case("grid --max-trials -1", "benchmark", ("--max-trials", "-1"), ("--max-trials",))


def remotes() -> Iterator[Case]:
    """`medtune remote`: nothing is written into .dvc/config."""
    for words, says in {
        (): ("URL: missing",),
        ("nonesuch://host/x",): ("nonesuch",),
        ("me@host:/path",): ("did you mean ssh://",),
        ("s3:bucket/path",): ("did you mean s3://",),
        ("s3://",): ("no host or bucket",),
        ("s3://key:secret@bucket/x",): ("AWS_ACCESS_KEY_ID",),
        ("ssh://me:hunter2@host/x",): ("secret", "***"),
        ("ssh://host:port/x",): ("not a valid URL",),
        (str(PROJECT / "store"),): ("the folder is in the project",),
        ("/dev/null/x",): ("/dev/null/x", "Nothing was changed"),
        ("ssh://host/x", "--endpoint", "http://x"): ("--endpoint",),
        ("s3://bucket/x", "--endpoint", "host"): ("--endpoint",),
        ("/tmp/x", "--name", "a b"): ('--name="a b"',),
    }.items():
        yield Case(f"remote {' '.join(words)}", "remote", words, says)


def recipes(folder: Path) -> Iterator[Case]:
    """`medtune params`: the params file stays as it is."""
    target = folder / "params.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text((PROJECT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "wrong.yaml").write_text("frozen: {epochs: none}\n")
    to = ("--to", str(target))
    for words, says in {
        to: ("nothing to apply",),
        (str(folder / "absent.yaml"), *to): ("absent.yaml", "no such recipe"),
        (str(folder / "wrong.yaml"), *to): ("frozen.epochs=none",),
        ("--set", "frozen.epochs=0", *to): ("frozen.epochs=0",),
        ("--set", "data.source=folder", "--set", "data.root=/nonesuch", *to): ("data.root=/nonesuch",),
        ("--set", "seed", *to): ("section.key=value",),
        ("--set", "seed=2", "--to", str(folder / "absent.yaml")): ("absent.yaml", "does not exist"),
    }.items():
        yield Case(f"recipe {' '.join(words[:2])}", "params apply", words, says)
    yield Case("check: a wrong file", "params check", ("--params", str(folder / "wrong.yaml")), ("frozen.epochs is",))
    yield Case("check: a wrong override", "params check", ("--set", "frozen.epoch=3"), ("frozen.epoch", "'epochs'"))
    yield Case("set: a wrong value", "params set", ("frozen.epochs=0", *to), ("frozen.epochs=0",))
    yield Case("explain: an unknown key", "params explain", ("model.haed",), ("model.haed", "'head'"))
