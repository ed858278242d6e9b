"""Small bundle of two labels, `organ` and `lesion`, which depend on the normalized value of each voxel alone."""

import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from medtune.serving.manifest import MANIFEST_FILE, dump_manifest, read_manifest

PATCH = (8, 8, 8)
SPACING = (1.0, 1.0, 2.0)
# Normalized values above which a voxel is `organ` and `lesion`.
ORGAN, LESION = 0.5, 2.5
# The rule maps 0..400 to -1..3.
INTENSITY = {"rule": "window", "low": 0.0, "high": 400.0, "mean": 100.0, "sd": 100.0}
RANGE = {
    "spacing": [[1.0, 1.0], [1.0, 1.0], [2.0, 3.0]],
    "extent_mm": [[16.0, 24.0], [16.0, 24.0], [16.0, 60.0]],
    "intensity": [[[0.0, 20.0], [20.0, 60.0], [60.0, 150.0], [150.0, 250.0], [250.0, 400.0]]],
    "contrast": [[[0.1, 0.4], [0.3, 0.7], [0.6, 0.9]]],
}


def model(channels: int = 1, features: bool = False) -> bytes:
    """Return an ONNX network of two members: a softmax of linear functions of the first channel.

    The only feature of a member is the mean of the window.
    """
    weights, biases = np.zeros((3, channels, 1, 1, 1), np.float32), np.zeros((2, 3), np.float32)
    weights[1, 0], weights[2, 0] = 8, 16
    biases[:, 1], biases[:, 2] = -8 * ORGAN, -8 * ORGAN - 8 * LESION
    biases[1] += (0.0, 0.1, 0.2)
    unsqueeze = numpy_helper.from_array(np.array([1], np.int64), "axis")
    tensors, nodes, names = [numpy_helper.from_array(weights, "weights"), unsqueeze], [], []
    for index, bias in enumerate(biases):
        tensors.append(numpy_helper.from_array(bias, f"bias{index}"))
        nodes += [
            helper.make_node("Conv", ["windows", "weights", f"bias{index}"], [f"logits{index}"]),
            helper.make_node("Softmax", [f"logits{index}"], [f"softmax{index}"], axis=1),
            helper.make_node("Unsqueeze", [f"softmax{index}", "axis"], [f"member{index}"]),
        ]
        names.append(f"member{index}")
    nodes.append(helper.make_node("Concat", names, ["members"], axis=1))
    nodes.append(helper.make_node("ReduceMean", ["members", "axis"], ["probabilities"], keepdims=0))
    value = helper.make_tensor_value_info
    outputs = []
    if features:
        tensors.append(numpy_helper.from_array(np.array([2, 3, 4], np.int64), "space"))
        nodes.append(helper.make_node("ReduceMean", ["windows", "space"], ["means"], keepdims=0))
        nodes.append(helper.make_node("ReduceMean", ["means", "axis"], ["mean"]))
        nodes.append(helper.make_node("Unsqueeze", ["mean", "axis"], ["feature"]))
        nodes.append(helper.make_node("Concat", ["feature", "feature"], ["features"], axis=1))
        outputs.append(value("features", TensorProto.FLOAT, ["n", 2, 1]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("windows", TensorProto.FLOAT, ["n", channels, *PATCH])],
        [value("probabilities", TensorProto.FLOAT, ["n", 3, *PATCH]),
         value("members", TensorProto.FLOAT, ["n", 2, 3, *PATCH]), *outputs],
        tensors,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def probabilities(windows: np.ndarray) -> np.ndarray:
    """Return the mean probabilities of `model` for windows (n, C, X, Y, Z)."""
    x, parts = windows[:, 0], []
    for offset in (0.0, 0.1):
        logits = np.stack([0 * x, 8 * (x - ORGAN) + offset, 8 * (2 * x - ORGAN - LESION) + 2 * offset], axis=1)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        parts.append(exponents / exponents.sum(axis=1, keepdims=True))
    return np.mean(parts, axis=0).astype(np.float32)


def expected_labels(values: np.ndarray) -> np.ndarray:
    """Return the label of each voxel for values of a file that need no resampling."""
    normalized = ((np.clip(values, 0, 400) - 100) / 100).astype(np.float16).astype(np.float32)
    return probabilities(normalized.reshape(1, 1, *values.shape))[0].argmax(0).astype(np.uint8)


def write_bundle(folder: Path, names: tuple[str, ...] = ("CT",), **changes: object) -> Path:
    """Write a bundle; `changes` replace entries of `volumes`. The graph has features if they have a limit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model(len(names), bool(changes.get("feature_limit"))))
    samples = np.random.default_rng(0).normal(1, 1, (1, len(names), *PATCH)).astype(np.float32)
    np.save(folder / "sample_input.npy", samples)
    np.save(folder / "sample_output.npy", probabilities(samples))
    count = len(names)
    document = {
        "schema_version": 2,
        "name": "tiny",
        "task": {"kind": "segmentation"},
        "classes": ["organ", "lesion"],
        "input": {"name": "windows", "dtype": "float32", "layout": "NCXYZ", "shape": ["N", count, *PATCH]},
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["N", 3, *PATCH]},
        "volumes": {
            "spacing": list(SPACING),
            "intensity": [INTENSITY] * count,
            "channels": list(names),
            "patch": list(PATCH),
            "overlap": 0.5,
            "post_processing": {"largest": [], "min_volume_mm3": 0.0},
            "training_range": {**RANGE, **{name: RANGE[name] * count for name in ("intensity", "contrast")}},
            **changes,
        },
        "members": [{"fold": 0}, {"fold": 1}],
        "precisions": {"fp32": {"file": "model.onnx", "shipped": True, "reason": None}},
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
            if path.suffix in (".npy", ".onnx")
        },
    }
    (folder / MANIFEST_FILE).write_text(dump_manifest(document), encoding="utf-8")
    return folder


def replace_files(folder: Path, contents: dict[str, bytes], **changes: object) -> Path:
    """Replace files of a bundle and their SHA-256; `changes` replace entries of bundle.json."""
    document = {**read_manifest(folder), **changes}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        document["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST_FILE).write_text(dump_manifest(document), encoding="utf-8")
    return folder


def draw(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Draw values of a volume, float32: background near 50, a box of organ near 200, a lesion near 390."""
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 10, shape)
    x, y, z = (slice(size // 4, size // 4 + size // 2) for size in shape)
    values[x, y, z] += 150
    values[x.start : x.start + 2, y.start : y.start + 2, z.start : z.start + 2] += 190
    return np.rint(values).astype(np.float32)
