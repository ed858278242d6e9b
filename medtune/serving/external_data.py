"""Which other files an ONNX file takes weights from, read from its bytes without the onnx package.

A tensor may point at another file (`external_data`), at any path the machine can read. Only files that the bundle
lists with their sha256 may be read, so the names are compared with its list before onnxruntime sees the model.
Field numbers are those of onnx.proto3 and never change.
"""

from collections.abc import Iterator

_GRAPH, _FUNCTIONS = 7, 25
# Where messages that may hold tensors lie inside each other: {message: {field: message}}.
_NESTED: dict[str, dict[int, str]] = {
    "model": {_GRAPH: "graph", _FUNCTIONS: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_KEY, _VALUE = 1, 2
_MAX_DEPTH = 64


def external_files(content: bytes) -> set[str]:
    """Return the files that tensors of an ONNX model point at, as the model spells them.

    A tensor that is marked as external without a file counts as the empty name.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    found: set[str] = set()
    _collect(memoryview(content), "model", 0, found)
    return found


def _collect(message: memoryview, kind: str, depth: int, found: set[str]) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    nested = _NESTED[kind]
    marked, locations = False, set[str]()
    for field, value in _fields(message):
        if kind == "tensor" and field == _EXTERNAL_DATA and isinstance(value, memoryview):
            marked = True
            locations |= _location(value)
        elif kind == "tensor" and field in (_EXTERNAL_DATA, _DATA_LOCATION):
            marked = marked or value != 0
        if field in nested and isinstance(value, memoryview):
            _collect(value, nested[field], depth + 1, found)
    if marked:
        found |= locations or {""}


def _location(entry: memoryview) -> set[str]:
    """The value of a `location` entry; nothing for other entries (offset, length, checksum)."""
    texts = {field: bytes(value) for field, value in _fields(entry) if isinstance(value, memoryview)}
    return {texts.get(_VALUE, b"").decode("utf-8", "replace")} if texts.get(_KEY) == b"location" else set()


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value, in order; only length-delimited values come as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        value: int | memoryview = 0
        if wire == 0:
            value, at = _varint(message, at)
        elif wire == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(message):
            raise ValueError("cut short")
        yield field, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("number too long")
