"""Whether an ONNX file carries all its weights itself, read from its bytes without the onnx package.

A tensor may point at another file (`external_data`), at any path the machine can read. The bundle's
sha256s do not cover such a file, so a model that has one is refused before onnxruntime sees it.
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
_MAX_DEPTH = 64


def has_external_data(content: bytes) -> bool:
    """True where no tensor of the ONNX model `content` points at another file.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    return _inside(memoryview(content), "model", 0)


def _inside(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    nested = _NESTED[kind]
    for field, value in _fields(message):
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            return False
        if field in nested and isinstance(value, memoryview) and not _inside(value, nested[field], depth + 1):
            return False
    return True


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
