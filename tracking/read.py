"""Reads offline `.wandb` files back: what was recorded, without the network."""

import importlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# LevelDB's log format with W&B's own seven-byte file header: blocks of 32 KiB, and in each block
# records of crc32 (4 bytes), length (2), kind (1), data. A record too long for its block is cut up.
FILE_HEADER, BLOCK, HEADER = 7, 32768, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class Recorded:
    """One recorded run.

    Attributes:
        run_id: W&B's id.
        history: one mapping a logged step, in order.
        artifacts: name and type of each logged artifact.
        exit_code: None where the run never finished.
    """

    run_id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int | None = None


def read_run(path: Path) -> Recorded:
    """The run in one `run-<id>.wandb` file; one that was cut off is read as far as it goes."""
    proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    recorded = Recorded()
    for data in _messages(path.read_bytes()):
        record = proto.Record()
        record.ParseFromString(data)
        _take(record, recorded)
    return recorded


def read_runs(cache: Path) -> list[Recorded]:
    """Every run recorded offline under the project's cache folder, oldest first."""
    return [read_run(path) for path in sorted((cache / "wandb").glob("offline-run-*/run-*.wandb"))]


def _take(record: Any, into: Recorded) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        into.run_id, into.name, into.group, into.job_type = run.run_id, run.display_name, run.run_group, run.job_type
        into.config.update(_items(run.config.update))
    elif kind == "config":
        into.config.update(_items(record.config.update))
    elif kind == "history":
        into.history.append(_items(record.history.item))
    elif kind == "summary":
        into.summary.update(_items(record.summary.update))
    elif kind == "artifact":
        into.artifacts.append((record.artifact.name, record.artifact.type))
    elif kind == "exit":
        into.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        *parents, last = item.nested_key or [item.key]
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = json.loads(item.value_json)
    return found


def _messages(data: bytes) -> Iterator[bytes]:
    if not data.startswith(b":W&B"):
        raise ValueError("not a .wandb file: it does not start with its mark")
    position, parts = FILE_HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        if kind not in (WHOLE, FIRST, MIDDLE, LAST) or position + HEADER + length > len(data):
            return
        parts = (b"" if kind in (WHOLE, FIRST) else parts) + data[position + HEADER : position + HEADER + length]
        if kind in (WHOLE, LAST):
            yield parts
        position += HEADER + length
