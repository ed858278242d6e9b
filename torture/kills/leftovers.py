"""What lies on disk: after a kill, what it cut into; at the next start, whether all of it can be read; in the end."""

import re
from collections.abc import Iterator
from pathlib import Path

from medtune.runtime.artifact import RESULT_FILE, file_sha256, find_artifact
from medtune.runtime.paths import RunPaths

LEFT_OUT = re.compile(r"(^|/)(logs/|wandb/|prefect/|\.prefect|[^/]*\.lock$)")
# They say how long it took.
OF_THE_RUN = {RESULT_FILE, "report.json"}


def contents(root: Path) -> dict[str, str]:
    """sha256 of every file below `root` by its path there, folders without files too; logs and locks left out."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if LEFT_OUT.search(f"{name}/" if path.is_dir() else name):
            continue
        if path.is_file():
            found[name] = "" if path.name in OF_THE_RUN else file_sha256(path)
        elif not any(path.iterdir()):
            found[f"{name}/"] = ""
    return found


def difference(root: Path, expected: dict[str, str]) -> str | None:
    """What lies below `root` that should not, what is missing, or what is another file; None where all is right."""
    found = contents(root)
    if strays := sorted(found.keys() - expected.keys()):
        return f"left behind: {', '.join(strays[:4])}"
    if missing := sorted(expected.keys() - found.keys()):
        return f"missing: {', '.join(missing[:4])}"
    if other := sorted(name for name, sha256 in expected.items() if found[name] != sha256):
        return f"not as in the uncut run: {', '.join(other[:4])}"
    return None


def cut_into(root: Path, expected: dict[str, str], since: float) -> str | None:
    """What was being saved when the process that worked below `root` was killed; None where it was between saves.

    A temporary file lies there, or a folder half published, or one with a file in it that is not yet what it becomes.

    Args:
        root: folder of the killed run.
        expected: `contents` of an uncut one.
        since: when the process began, seconds since 1970: what earlier ones left does not count.
    """
    for path in sorted(root.rglob(".*")):
        if path.name.endswith(".tmp") and _changed(path, since):
            return path.name.rsplit(".", 2)[0].removeprefix(".")
        if path.name.endswith(".old") and _changed(path, since):
            return "publishing"
        if path.name.endswith(".partial"):
            final = path.with_name(path.name.removeprefix(".").removesuffix(".partial")).relative_to(root).as_posix()
            for file in sorted(file for file in path.rglob("*") if file.is_file() and _changed(file, since)):
                if file.name == RESULT_FILE:
                    return "publishing"
                name = f"{final}/{file.relative_to(path).as_posix()}"
                if expected.get(name, "") not in ("", file_sha256(file)):
                    return file.name
    return None


def _changed(path: Path, since: float) -> bool:
    """Whether it was written or renamed after `since`."""
    return path.stat().st_ctime >= since


def read_all(paths: RunPaths) -> Iterator[tuple[str, str | None]]:
    """Every finished artifact and every checkpoint, with why it cannot be read, or None where it can.

    Read by the loaders that the stages use; `find_artifact` first puts right what a kill between two renames left.
    """
    from medtune.data.manifest import load_prepared
    from medtune.evaluation import outputs as logits
    from medtune.serving.bundle import Bundle
    from medtune.training import checkpoint

    prepared, kept = paths.prepared, {name: paths.stage(name, 1) for name in ("frozen", "finetune")}
    parts = sorted(paths.cache.glob("features/*/[0-9]*"))
    for folder in (prepared, *kept.values(), paths.stage("evaluate"), paths.stage("export"), *parts):
        find_artifact(folder)
        if not folder.exists():
            continue
        name = folder.relative_to(paths.out).as_posix() if folder not in parts else f"features {folder.name}"
        try:
            artifact = find_artifact(folder)
            if artifact is None:
                raise ValueError("is there, but is not what was written")
            if folder == prepared:
                load_prepared(folder)
            elif folder in kept.values():
                checkpoint.load_trained(artifact)
                wanted = (
                    logits.OutputsRequest.for_artifact(artifact, load_prepared(prepared)) if prepared.exists() else None
                )
                if wanted and (paths.cache / "logits" / f"{wanted.key}.npz").exists():
                    yield "logits", None if logits.load_outputs(wanted, paths.cache) else "cannot be read"
            elif folder == paths.stage("export"):
                Bundle.load(folder).self_test()
        except Exception as error:  # of whatever kind: it cannot be read
            yield name, f"{type(error).__name__}: {error}"
        else:
            yield name, None
    for file in sorted(paths.out.glob(f"artifacts/*/.*.training/{checkpoint.CHECKPOINT_FILE}")):
        yield file.name, None if checkpoint.read(file) else "cannot be read"
