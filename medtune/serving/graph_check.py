"""Whether a graph is the one that bundle.json describes."""

from typing import Any

import onnxruntime

from medtune.serving import members, tasks
from medtune.serving.manifest import BundleError


def check_graph(session: onnxruntime.InferenceSession, manifest: dict[str, Any], file: str) -> None:
    """Refuse a graph that is not the one bundle.json describes.

    Raises:
        BundleError: input or output have another name, type or shape.
    """
    size, task = manifest["preprocessing"]["image_size"], tasks.find(manifest["task"]["kind"])
    assert task is not None  # else the document was refused
    output = task.shape(manifest)
    parts = [("input", manifest["input"]["name"], session.get_inputs(), "tensor(uint8)", (None, size, size, 3))]
    outputs, each = session.get_outputs(), (None, members.count(manifest), *output)
    if members.MEMBERS in manifest:
        parts.append(("output", members.MEMBERS, outputs, "tensor(float)", each))
    if manifest["output"]["name"] != members.MEMBERS:
        parts.append(("output", manifest["output"]["name"], outputs, "tensor(float)", (None, *output)))
    for part, name, nodes, kind, shape in parts:
        named = {node.name: node for node in nodes}
        if name not in named:
            raise BundleError(f"{part}.name is {name!r}, but the {part}s of {file} are {', '.join(named)}")
        node = named[name]
        fits = len(node.shape) == len(shape) and all(
            wanted == given
            for wanted, given in zip(shape, node.shape, strict=True)
            if wanted and isinstance(given, int)
        )
        if node.type != kind or not fits:
            raise BundleError(
                f"{part} {name!r} of {file} is {node.type} {node.shape}, which is not what bundle.json says: "
                f"preprocessing.image_size {size}, output {list(output)} ({task.summary(manifest)})"
            )
