"""Comparison of an ONNX graph with the description in bundle.json."""

from typing import Any

import onnxruntime

from medtune.serving import members, tasks
from medtune.serving.manifest import BundleError
from medtune.serving.manifest_fields import VOLUMES


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
    if members.MEMBERS in manifest:
        expected.append(("output", members.MEMBERS, outputs, "tensor(float)", member_shape))
    if manifest["output"]["name"] != members.MEMBERS:
        expected.append(("output", manifest["output"]["name"], outputs, "tensor(float)", (None, *output)))
    for kind, name, nodes, dtype, shape in expected:
        node_by_name = {node.name: node for node in nodes}
        if name not in node_by_name:
            are = f"the only {kind} of {file} is" if len(nodes) == 1 else f"the {kind}s of {file} are"
            raise BundleError(
                f"{kind}.name is {name!r}, but {are} named {', '.join(map(repr, node_by_name))}. Export the bundle "
                "again"
            )
        node = node_by_name[name]
        fits = len(node.shape) == len(shape) and all(
            side == actual for side, actual in zip(shape, node.shape, strict=True) if side and isinstance(actual, int)
        )
        if node.type != dtype:
            raise BundleError(f"{kind} {name!r} of {file} is {node.type}, not {dtype}. Export the bundle again")
        if not fits:
            described = f"output {list(shape[1:])} ({task.summary(manifest)})"
            if kind == "input":
                described = described_input
            raise BundleError(
                f"{kind} {name!r} of {file} has the shape {node.shape}, which contradicts bundle.json: {described}. "
                "Export the bundle again"
            )


def _input(manifest: dict[str, Any]) -> tuple[str, tuple[int, ...], str]:
    """Return type and shape of the input without the batch axis, and the fields of bundle.json that define them."""
    if VOLUMES in manifest:
        channels, patch = len(manifest[VOLUMES]["channels"]), manifest[VOLUMES]["patch"]
        return "tensor(float)", (channels, *patch), f"volumes.patch {patch} and {channels} volumes.channels"
    size = manifest["preprocessing"]["image_size"]
    return "tensor(uint8)", (size, size, 3), f"preprocessing.image_size {size}"
