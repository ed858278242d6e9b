"""Comparison of an ONNX graph with the description in bundle.json."""

from collections.abc import Sequence
from typing import Any

import onnxruntime

from medtune.serving import members, tasks
from medtune.serving.field_error import show_json
from medtune.serving.manifest import BundleError
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.volumes.network_features import FEATURES, KEY


def check_graph(session: onnxruntime.InferenceSession, manifest: dict[str, Any], file: str) -> None:
    """Check that the inputs and outputs of a graph are those that bundle.json describes.

    Args:
        session: session of the graph.
        manifest: content of bundle.json.
        file: name of the graph's file, for messages.

    Raises:
        BundleError: an input or output has another name, type or shape.
    """
    task = tasks.find(manifest["task"]["kind"])
    assert task is not None  # read_manifest rejects unknown tasks
    output = task.shape(manifest)
    dtype, source, described_input = _input(manifest)
    expected = [("input", manifest["input"]["name"], session.get_inputs(), dtype, (None, *source))]
    outputs, member_shape = session.get_outputs(), (None, members.count(manifest), *output)
    limit = manifest.get(VOLUMES, {}).get(KEY)
    if limit is not None:
        expected.append(("output", FEATURES, outputs, "tensor(float)", (None, members.count(manifest), limit["width"])))
    if members.MEMBERS in manifest:
        expected.append(("output", members.MEMBERS, outputs, "tensor(float)", member_shape))
    if manifest["output"]["name"] != members.MEMBERS:
        expected.append(("output", manifest["output"]["name"], outputs, "tensor(float)", (None, *output)))
    for kind, name, nodes, dtype, shape in expected:
        node_by_name = {node.name: node for node in nodes}
        if name not in node_by_name:
            are = f"the only {kind} of {file} is" if len(nodes) == 1 else f"the {kind}s of {file} are"
            raise BundleError(
                f'bundle.json: key "{kind}.name" is {show_json(name)}, but {are} named '
                f"{', '.join(map(show_json, node_by_name))}. Export the bundle again"
            )
        node = node_by_name[name]
        fits = len(node.shape) == len(shape) and all(
            side == actual for side, actual in zip(shape, node.shape, strict=True) if side and isinstance(actual, int)
        )
        if node.type != dtype:
            raise BundleError(f"{kind} {name!r} of {file} is {node.type}, not {dtype}. Export the bundle again")
        if not fits:
            described = described_input if kind == "input" else task.summary(manifest)
            raise BundleError(
                f"{kind} {name!r} of {file} has the shape {_show(node.shape)}, but bundle.json requires "
                f"{_show(('batch', *shape[1:]))}: {described}. Export the bundle again"
            )


def _show(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join(str(side or 'any') for side in shape)})"


def _input(manifest: dict[str, Any]) -> tuple[str, tuple[int, ...], str]:
    """Return the type of the input, its shape without the batch axis, and the keys of bundle.json that define it."""
    if VOLUMES in manifest:
        channels, patch = len(manifest[VOLUMES]["channels"]), manifest[VOLUMES]["patch"]
        return (
            "tensor(float)",
            (channels, *patch),
            f'key "volumes.patch" is {patch}, and key "volumes.channels" has {channels}',
        )
    size = manifest["preprocessing"]["image_size"]
    return "tensor(uint8)", (size, size, 3), f'key "preprocessing.image_size" is {size}'
