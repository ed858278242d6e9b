"""Names of the external files of an ONNX model, found without the onnx package.

A tensor may refer to a file (`external_data`) at any path. Only files that the bundle lists with a SHA-256 may be read,
so the names are checked before onnxruntime loads the model. This module therefore parses the protobuf format of ONNX.
The field numbers are from onnx.proto3 and never change.
"""

from collections.abc import Iterator

_GRAPH, _FUNCTIONS = 7, 25
# Messages that may contain tensors: for each kind of message, the kind of message in each field.
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
    """Return the names of the files that the tensors of an ONNX model refer to.

    Args:
        content: the bytes of the model.

    Returns:
        The names exactly as in the model. An empty name means that an external tensor has no file.

    Raises:
        ValueError: the bytes are not an ONNX model.
    """
    names: set[str] = set()
    _collect(memoryview(content), "model", 0, names)
    return names


def _collect(message: memoryview, kind: str, depth: int, names: set[str]) -> None:
    """Add the names of the files that a message and its nested messages refer to."""
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
            _collect(value, nested[field], depth + 1, names)
    if marked:
        names |= locations or {""}


def _location(entry: memoryview) -> set[str]:
    """Return the file name in an entry of external data. Empty for other entries (offset, length, checksum)."""
    texts = {field: bytes(value) for field, value in _fields(entry) if isinstance(value, memoryview)}
    return {texts.get(_VALUE, b"").decode("utf-8", "replace")} if texts.get(_KEY) == b"location" else set()


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each protobuf field. The value 0 replaces numbers of fixed size."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        field, wire = tag >> 3, tag & 7
        value: int | memoryview = 0
        if wire == 0:
            value, position = _varint(message, position)
        elif wire == 2:
            size, position = _varint(message, position)
            value, position = message[position : position + size], position + size
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if position > len(message):
            raise ValueError("the model is truncated")
        yield field, value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number of variable length at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("the model is truncated")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is too long")
