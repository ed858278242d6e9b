"""Check of the images or volumes: list them and decode a sample."""

import contextlib
import io
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.data.archive import SUFFIXES, first_member, is_archive
from medtune.data.positive import find_positive
from medtune.data.sample import Sample
from medtune.data.sample_checks import check_samples
from medtune.doctor import volumes
from medtune.doctor.check_result import CheckResult, Context, failure, format_duration, format_size, ok, warning
from medtune.serving.one_line import first_line

N_DECODED = 6  # number of images that are decoded
HINT = "set data.root to the folder (or archive) with your images, see docs/settings.md"


def check_data(context: Context) -> CheckResult:
    """Check data.root, count the images, and measure the decoding of a sample."""
    params = context.params.data
    source = registry.load_plugin("medtune.data.sources", params.source, "data.source")
    root = (PROJECT / params.root).resolve() if params.root else None
    if params.source != "synthetic" and root is not None:
        if not root.exists() and getattr(params, "download", False):
            return ok(f"{root} does not exist yet: data.download fetches it")
        if packed := _find_archive(root):
            return _check_archive(packed, root)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # only the data stage prints the source's messages
            classes = source.classes(params)
            names = () if params.has_volumes else classes
            samples = check_samples(source.list_samples(root, params), params, names).samples
            if registry.load_part("medtune.tasks", context.params.task.kind, "targets", "task.kind").HAS_POSITIVE:
                find_positive(classes or sorted({sample.label for sample in samples}), params, source)
    except InputError as error:
        return failure(first_line(error), HINT)
    if params.has_volumes:
        return volumes.check_volumes(context, source, samples, root)
    if hasattr(source, "cut") and root is not None:
        return _check_slides(context, source, samples, root)
    context.facts["images"] = len(samples)
    chosen = samples[:: max(1, len(samples) // N_DECODED)][:N_DECODED]
    bad, seconds = _try_decoding(chosen, root, params.image_size, params.resize)
    context.facts["decode_s"] = seconds
    location = f" in {root}" if root and _reads_files(chosen) else ""
    summary = f"{len(samples):,} images{location} (data.source={params.source})"
    if bad:
        fix = "fix or remove them, or set data.on_bad_image=reject"
        result = warning if params.on_bad_image == "reject" else failure
        return result(f"{summary}; {len(bad)} of {len(chosen)} sampled images are unusable: {bad[0]}", fix)
    total = format_duration(seconds * len(samples))
    return ok(f"{summary}; {len(chosen)} decoded, decoding all takes {total} on one core")


def _check_slides(context: Context, source: ModuleType, slides: Sequence[Sample], root: Path) -> CheckResult:
    """Divide one slide into tiles, and read some of them."""
    params, first = context.params.data, slides[len(slides) // 2]
    begin = time.perf_counter()
    try:
        tiles = source.cut([first], root, params).tiles
        cut = time.perf_counter()
        bad, seconds = _try_decoding(tiles[:N_DECODED], root, params.image_size, params.resize)
    except InputError as error:
        return failure(f"{len(slides):,} slides in {root}: {first_line(error)}", "fix or remove it")
    per_tile = seconds + (cut - begin) / len(tiles)
    context.facts |= {"images": len(slides) * len(tiles), "decode_s": per_tile}
    if bad:
        return failure(f"{len(slides):,} slides in {root}: {bad[0]}", "fix or remove it")
    total = format_duration(per_tile * len(slides) * len(tiles))
    return ok(f"{len(slides):,} slides in {root}; {first.path} has {len(tiles):,} tiles, reading all takes {total}")


def _reads_files(samples: Sequence[Sample]) -> bool:
    """Return True if a sample is a file, and not an array of the source."""
    return any(sample.read is None for sample in samples)


def _find_archive(root: Path) -> Path | None:
    """Return the archive that stage data would unpack, or None.

    This is `root` itself if it is an archive, or the first archive in a folder that contains only archives.
    """
    if is_archive(root):
        return root
    if not root.is_dir():
        return None
    entries = [path for path in root.iterdir() if not path.name.startswith(".")]
    archives = [path for path in entries if path.name.lower().endswith(SUFFIXES)]
    return archives[0] if archives and len(archives) == len(entries) else None


def _check_archive(archive: Path, root: Path) -> CheckResult:
    """Check that an archive can be read."""
    try:
        member = first_member(archive)
        size = archive.stat().st_size
    except (InputError, OSError) as error:
        return failure(first_line(error), "download it again")
    return ok(
        f"{archive.name} in {root.parent if archive == root else root}: {format_size(size)}, first file {member}; "
        "stage data unpacks it, so the images are not counted"
    )


def _try_decoding(samples: Sequence[Sample], root: Path | None, side: int, resize: str) -> tuple[list[str], float]:
    """Return the error messages about samples that cannot be decoded, and the median seconds per image."""
    from medtune.data.listing import image_path
    from medtune.serving.decode import decode
    from medtune.serving.intensity import shrink
    from medtune.serving.pixels import DecodedImage, DecodeError

    bad, seconds = [], []
    for sample in [*samples[:1], *samples]:  # the first sample is decoded twice, because the first time has imports
        begin = time.perf_counter()
        try:
            if sample.read is not None:
                image = DecodedImage(sample.read())
            else:
                assert root is not None
                image = decode(image_path(sample, root), frame=sample.frame)
            shrink(image, side, resize)  # type: ignore[arg-type]
        except DecodeError as error:
            bad.append(f"{sample.path}: {error}")
        seconds.append(time.perf_counter() - begin)
    return list(dict.fromkeys(bad)), statistics.median(seconds)
