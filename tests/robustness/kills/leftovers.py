"""Files of a killed run: the interrupted save, files that cannot be read, differences from the uninterrupted run."""

import re
from collections.abc import Iterator
from pathlib import Path

from medtune.runtime.artifact import RESULT_FILE, file_sha256, find_artifact
from medtune.runtime.paths import RunPaths

IGNORED = re.compile(r"(^|/)(logs/|wandb/|prefect/|\.prefect|[^/]*\.lock$)")
WITH_DURATIONS = {RESULT_FILE, "report.json"}


def contents(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `root`, and the empty folders, by relative path."""
    digests = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix() + "/" * path.is_dir()
        if IGNORED.search(name):
            continue
        if path.is_file():
            digests[name] = "" if path.name in WITH_DURATIONS else file_sha256(path)
        elif not any(path.iterdir()):
            digests[name] = ""
    return digests


def difference(root: Path, expected: dict[str, str]) -> str | None:
    """Return the first difference of `root` from the contents of the uninterrupted run, or None."""
    actual = contents(root)
    differences = {
        "left behind": actual.keys() - expected.keys(),
        "missing": expected.keys() - actual.keys(),
        "changed": {name for name in actual.keys() & expected.keys() if actual[name] != expected[name]},
    }
    problems = (f"{problem}: {', '.join(sorted(names)[:4])}" for problem, names in differences.items() if names)
    return next(problems, None)


def interrupted_save(root: Path, expected: dict[str, str], since: float) -> str | None:
    """Return the name of the file or `publishing` if the run was killed during a save, otherwise None.

    Args:
        root: folder of the killed run.
        expected: contents of the uninterrupted run.
        since: start of the killed process, in seconds since 1970. Older files are of earlier runs.
    """
    for path in sorted(path for path in root.rglob("*") if path.stat().st_ctime >= since):
        if path.name.endswith(".tmp"):
            return path.name.rsplit(".", 2)[0].removeprefix(".")
        name = path.relative_to(root).as_posix()
        published = re.sub(r"/\.([^/]+)\.partial/", r"/\1/", name)
        if path.name.endswith(".old") or (published != name and path.name == RESULT_FILE):
            return "publishing"
        if published != name and path.is_file() and expected.get(published, "") not in ("", file_sha256(path)):
            return path.name
    return None


def read_all(paths: RunPaths) -> Iterator[tuple[str, str | None]]:
    """Read every finished artifact and checkpoint with the functions of the stages.

    Yields:
        The name of each, and the error or None.
    """
    from medtune.data.manifest import load_prepared
    from medtune.evaluation.outputs import OutputsRequest, load_outputs
    from medtune.serving.bundle import Bundle
    from medtune.training import checkpoint

    def load_trained(artifact):
        checkpoint.load_trained(artifact)
        if paths.prepared.exists():
            request = OutputsRequest.for_artifact(artifact, load_prepared(paths.prepared))
            if (paths.cache / "logits" / f"{request.key}.npz").exists() and not load_outputs(request, paths.cache):
                raise ValueError("the logits cannot be read")

    readers = {
        paths.prepared: lambda artifact: load_prepared(artifact.folder),
        paths.stage("frozen", 1): load_trained,
        paths.stage("finetune", 1): load_trained,
        paths.stage("evaluate"): lambda artifact: None,
        paths.stage("export"): lambda artifact: Bundle.load(artifact.folder).self_test(),
        **dict.fromkeys(sorted(paths.cache.glob("features/*/[0-9]*")), lambda artifact: None),
    }
    for folder, read in readers.items():
        artifact = find_artifact(folder)  # completes a publication that was interrupted
        if not folder.exists():
            continue
        try:
            if artifact is None:
                raise ValueError("it is damaged")
            read(artifact)
        except Exception as error:
            yield str(folder), f"{type(error).__name__}: {error}"
        else:
            yield str(folder), None
    for file in sorted(paths.out.glob(f"artifacts/*/.*.training/{checkpoint.CHECKPOINT_FILE}")):
        yield str(file), None if checkpoint.read(file) else "it cannot be read"
