"""Small bundle of two classes, `blue` and `red`, whose probabilities depend on the mean red and blue."""

import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from medtune.serving.manifest import MANIFEST_FILE, dump_manifest

SIZE = 8


def red_model(external: str | None = None) -> bytes:
    """Return an ONNX network: softmax of (0, 8 (red - blue) / 255) of uint8 (n, 8, 8, 3).

    Args:
        external: file of the weights; None: the network contains them.
    """
    weight = numpy_helper.from_array(np.array([[0, 8 / 255], [0, 0], [0, -8 / 255]], np.float32), "weight")
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    if external:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external)
        weight.ClearField("raw_data")
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIZE, SIZE, 3])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "red", [images], [probabilities], [weight, axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def red_probability(images: np.ndarray) -> np.ndarray:
    """Return the probabilities that `red_model` predicts for uint8 (n, 8, 8, 3)."""
    mean = images.reshape(-1, SIZE * SIZE, 3).mean(1) / 255
    red = 1 / (1 + np.exp(-8 * (mean[:, 0] - mean[:, 2])))
    return np.stack([1 - red, red], axis=1)


def write_bundle(folder: Path, content: bytes | None = None, **changes: object) -> Path:
    """Write a bundle with an ONNX file of this content; `changes` replace entries of bundle.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content or red_model())
    samples = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    np.save(folder / "sample_input.npy", samples)
    np.save(folder / "sample_output.npy", red_probability(samples).astype(np.float32))
    document = {
        "schema_version": 1,  # one network, as in bundles of earlier versions
        "name": "red",
        "task": {"kind": "classification"},
        "classes": ["blue", "red"],
        "input": {"name": "images", "dtype": "uint8", "layout": "NHWC", "shape": ["N", SIZE, SIZE, 3]},
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["N", 2]},
        "preprocessing": {"image_size": SIZE, "resize": "squash"},
        "decision": {"kind": "threshold", "positive": "red", "threshold": 0.7},
        "precisions": {
            "fp32": {"file": "model.onnx", "shipped": True, "reason": None},
            "fp16": {"file": "model.fp16.onnx", "shipped": False, "reason": "3 images came out NaN"},
        },
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
            if path.suffix in (".npy", ".onnx")
        },
        **changes,
    }
    (folder / MANIFEST_FILE).write_text(dump_manifest(document), encoding="utf-8")
    return folder
