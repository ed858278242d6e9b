"""Trial export of a network before training. It finds operators that have no ONNX counterpart."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.models.network import Network

LAYOUT = 3  # number of outputs of the network
# Graphs with more bytes of weights are exported but not run, because onnxruntime would need twice the memory.
MAX_OPENED_BYTES = 500_000_000


def trial_layout(params: Params) -> Any:
    """Return the layout of the network for the trial, as `Training.layout` of a task does for real data."""
    if not params.data.has_volumes:
        return LAYOUT
    from medtune.models.segmenter_check import trial_patch

    channels = 1
    if getattr(params.data, "is_planar", False):  # the colors of an image are read together
        source = registry.load_plugin("medtune.data.sources", params.data.source, "data.source")
        channels = len(source.channels(params.data))
    return {"classes": LAYOUT, "channels": channels, "patch": list(trial_patch(params))}


def try_export(params: Params, network: Network) -> bytes:
    """Export a network as stage export does, and run the graph with several batch sizes.

    Args:
        params: all params.
        network: the network in eval mode on the CPU.

    Returns:
        The bytes of the graph; empty if the graph is too large to open.

    Raises:
        InputError: the network cannot be exported, or onnxruntime cannot run the graph. The message names the reason.
    """
    from medtune.export import graph_input
    from medtune.export.ensemble import Ensemble, Member
    from medtune.export.onnx_file import weight_bytes
    from medtune.export.onnx_graph import ExportError, to_onnx
    from medtune.export.precisions import predictor
    from medtune.export.volume_ensemble import VolumeEnsemble
    from medtune.serving.manifest import BundleError
    from medtune.tasks import base

    name, source = params.model.backbone, graph_input.images(params.data.image_size)
    if params.data.has_volumes:
        layout = trial_layout(params)
        source = graph_input.windows(layout["channels"], layout["patch"])
    task = base.export(params.task.kind)
    fold: Mapping[str, float] = getattr(task, "EXAMPLE_FOLD", {})
    try:
        members = [Member(network, task.output_layer(fold))]
        model = VolumeEnsemble(members, "output") if params.data.has_volumes else Ensemble(members, "output")
        graph = to_onnx(model, source, params.export.opset, {}, model.names)
        if weight_bytes(graph) > MAX_OPENED_BYTES:
            return b""
        content: bytes = graph.SerializeToString()
        predict = predictor(content, busy_wait=False)
        for count in (1, 3):
            if len(predict(np.zeros((count, *source.shape), source.dtype))) != count:
                raise InputError(
                    f"model.backbone={name}: the exported graph does not support all batch sizes. "
                    "Choose another backbone"
                )
        return content
    except ExportError as error:
        raise InputError(f"model.backbone={name}: {error}. Choose another backbone") from error
    except BundleError as error:
        raise InputError(
            f"model.backbone={name}: onnxruntime cannot run the exported graph ({error}). Choose another backbone"
        ) from error
