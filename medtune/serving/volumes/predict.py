"""Segmentation of files to label maps and a table of volumes (`medtune predict`)."""

import csv
import glob
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.serving.folder_scan import printable
from medtune.serving.manifest import BundleError
from medtune.serving.output_file import open_output
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.cases import TABLE, Case, check_outputs
from medtune.serving.volumes.label_map_format import DefaultFormat, LabelMapFormat
from medtune.serving.volumes.volume_progress import VolumeProgress

SECONDS = "seconds"


def write_label_maps(
    bundle: VolumeBundle,
    cases: Sequence[Case],
    out: Path,
    batch_size: int = 1,
    as_json: bool = False,
    label_map_format: LabelMapFormat | None = None,
) -> int:
    """Write the label map of each readable volume, and the table `volumes.csv`.

    A label map is `CASE.nii.gz` by default, or `CASE.png` for an image. The table has the columns path, ml_LABEL,
    uncertainty_LABEL, flags and seconds. Images have pixels_LABEL instead of ml_LABEL. The uncertainty is empty if a
    label was not predicted. A volume that fails does not affect the others. Unfinished files of a killed run are
    removed.

    Args:
        bundle: the loaded bundle (an exported model).
        cases: volumes or images with different names.
        out: folder of the results, created if it does not exist. Existing results are replaced.
        batch_size: windows per run of the network.
        as_json: also print the table as a JSON list on stdout.
        label_map_format: file format of the label maps. Its method `prepare` returned `cases`. None for
            `DefaultFormat`.

    Returns:
        The number of volumes that could not be segmented. The reasons are printed to stderr.

    Raises:
        BundleError: a result would replace an input, or cannot be written.
    """
    check_outputs(cases, out)
    writer = label_map_format or DefaultFormat()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"--out={out}: cannot be created ({error.strerror}). Use another folder") from None
    _remove_unfinished(out, [TABLE, *(case.target(out).name for case in cases)])
    item = "image" if bundle.settings.is_planar else "volume"
    progress, entries, columns = VolumeProgress(len(cases), item=item), [], list(bundle.task.columns(bundle.manifest))
    start = time.perf_counter()
    with open_output(out / TABLE) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["path", *columns, SECONDS])
        stream.flush()
        for case in cases:
            progress.start(case.name)
            begin, target = time.perf_counter(), case.target(out)
            try:
                source = writer.read_source(case)
                result = bundle.segment(_source(case), batch_size=batch_size, on_progress=progress.update)
                writer.write(target, result, source)
            except (DecodeError, RuntimeError, MemoryError) as error:
                progress.clear()
                print(f"skipped {printable(case.path)}: {_reason(error, case)}", file=sys.stderr, flush=True)
                target.unlink(missing_ok=True)  # the label map of an earlier run
                continue
            (row,), seconds = bundle.rows([result]), time.perf_counter() - begin
            table.writerow([printable(case.path), *map(_cell, row), f"{seconds:.2f}"])
            stream.flush()
            entry = {"path": printable(case.path), **bundle.task.entry(row, bundle.manifest)}
            entries.append({**entry, SECONDS: round(seconds, 2)})
    progress.clear()
    if as_json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    skipped = len(cases) - len(entries)
    print(f"{len(entries)} {item}s in {time.perf_counter() - start:.1f} s: {out}"
          + (f"; {skipped} skipped" if skipped else ""), file=sys.stderr)  # fmt: skip
    return skipped


def _remove_unfinished(out: Path, names: Sequence[str]) -> None:
    """Remove the temporary files that killed runs left for results of these names."""
    for name in names:
        for path in out.glob(f".{glob.escape(name)}.*.tmp*"):
            process = path.name.removeprefix(f".{name}.").partition(".")[0]
            if process.isdecimal() and not _is_running(int(process)):
                path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # on Windows, os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _source(case: Case) -> Path | Sequence[Path]:
    """Return the only file or folder of a case, or its files of several channels."""
    return case.files[0] if len(case.files) == 1 else case.files


def _reason(error: Exception, case: Case) -> str:
    """Return the message without the name of the file, which the line already contains."""
    if isinstance(error, MemoryError):
        return "not enough memory to segment the volume"
    return str(error).removeprefix(f"{printable(str(case.files[0]))}: ")


def _cell(value: Any) -> Any:
    """Return a value of the table as text; an empty text for NaN."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
