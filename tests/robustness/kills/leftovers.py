"""Files of a killed run: the interrupted save, files that cannot be read, differences from the uninterrupted run."""

import re
from hashlib import sha256
from pathlib import Path

import onnx

from medtune.runtime.artifact import RESULT_FILE, file_sha256, find_artifact
from medtune.runtime.paths import RunPaths
from tests.robustness.kills.forked import Report

# The cache may contain results of the dry run and of evaluations for other params.
IGNORED = re.compile(
    r"(^|/)(logs/|wandb/|prefect/|\.prefect|[^/]*\.lock$|dry_run/[0-9a-f]{32}/|segmentations/metrics/)"
)
WITH_DURATIONS = {RESULT_FILE, "report.json"}
# Reports about a model with controls contain the duration of their training, which also changes the key of the bundle.
# Of these files, metrics.json is compared without durations, and model.onnx without the key.
WITH_CONTROLS = {"report.html", "MODEL_CARD.md", "bundle.json"}


def contents(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `root`, and the empty folders, by relative path."""
    digests = {}
    has_controls = any(root.glob("out/artifacts/controls/*/"))
    with_durations = WITH_DURATIONS | WITH_CONTROLS if has_controls else WITH_DURATIONS
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix() + "/" * path.is_dir()
        if IGNORED.search(name):
            continue
        if path.is_file():
            digests[name] = "" if path.name in with_durations else _digest(path, has_controls)
        elif not any(path.iterdir()):
            digests[name] = ""
    return digests


def _digest(path: Path, has_controls: bool) -> str:
    if has_controls and path.name == "metrics.json":
        return sha256(re.sub(rb'"seconds": [0-9.]+', b"", path.read_bytes())).hexdigest()
    if has_controls and path.name == "model.onnx":
        return sha256(onnx.load(path).graph.SerializeToString(deterministic=True)).hexdigest()
    return file_sha256(path)


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
    """Return the file, or `publishing`, that a process saved when it was killed, otherwise None.

    Args:
        root: folder of the killed run.
        expected: contents of the uninterrupted run.
        since: start of the killed process, in seconds since 1970. Older files are of earlier processes.
    """
    for path in sorted(path for path in root.rglob("*") if path.stat().st_ctime >= since):
        name = path.relative_to(root).as_posix()
        published = re.sub(r"/\.([^/]+)\.partial/", r"/\1/", name)
        if path.name.endswith(".old") or (published != name and path.name == RESULT_FILE):
            return "publishing"
        is_incomplete = published != name and expected.get(published) and path.is_file()
        if ".tmp" in path.suffixes or (is_incomplete and expected[published] != file_sha256(path)):
            return path.name
    return None


def report_unreadable(paths: RunPaths, report: Report) -> None:
    """Read every finished artifact and checkpoint as the stages do. Report a `file` (name, problem) for each."""
    from medtune.data.manifest import load_prepared
    from medtune.evaluation.outputs import OutputsRequest, load_outputs
    from medtune.serving.any_bundle import load_bundle
    from medtune.serving.checksum import strip_bytes_checksum
    from medtune.training import checkpoint

    def read_trained(artifact):
        checkpoint.load_trained(artifact)
        if paths.prepared.exists() and load_prepared(paths.prepared).info.get("volumes") is None:
            request = OutputsRequest.for_artifact(artifact, load_prepared(paths.prepared))
            is_stored = (paths.cache / "logits" / f"{request.key}.npz").exists()
            assert load_outputs(request, paths.cache) or not is_stored, "the logits cannot be read"

    controls = [paths.of_control(folder.name) for folder in sorted(paths.stage("controls").glob("*/"))]
    readers = {
        paths.prepared: lambda artifact: load_prepared(artifact.folder),
        **{run.stage(stage, 1): read_trained for run in (paths, *controls) for stage in ("frozen", "finetune")},
        paths.stage("evaluate"): lambda artifact: artifact.result(),
        paths.stage("export"): lambda artifact: load_bundle(artifact.folder).self_test(),
        **dict.fromkeys(sorted(paths.cache.glob("features/*/[0-9]*")), lambda artifact: artifact.result()),
    }
    for folder, read in readers.items():
        artifact, problem = find_artifact(folder), None  # recovers from an interrupted publication
        if folder.exists():
            try:
                read(artifact)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            report("file", name=str(folder), problem=problem)
    for file in sorted(paths.out.glob(f"artifacts/**/.*.training/{checkpoint.CHECKPOINT_FILE}")):
        report("file", name=str(file), problem=None if checkpoint.read(file) else "it cannot be read")
    for file in sorted(paths.cache.glob("segmentations/*/*.npz")):
        try:
            strip_bytes_checksum(file.read_bytes())
            problem = None
        except ValueError as error:
            problem = str(error)
        report("file", name=str(file), problem=problem)
