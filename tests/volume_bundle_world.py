"""Prepared phantoms, and bundles of networks whose labels follow the intensity."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.export.ensemble import Member
from medtune.export.onnx_graph import to_onnx
from medtune.export.volume_export import VolumeExport
from medtune.runtime.paths import RunPaths
from medtune.serving.manifest import dump_manifest
from medtune.serving.members import REFIT
from medtune.tasks.segmentation import export as task
from tests.volume_world import write_prepared_volumes

PATCH = (16, 16, 16)


class Threshold(nn.Module):
    """Network whose labels follow the intensity and its neighborhood, so that all of them occur."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.smooth = nn.Conv3d(1, 4, 3, padding=1)
        with torch.no_grad():
            self.smooth.weight.fill_(1 / 27)
            self.smooth.bias.copy_(torch.tensor([0.0, -0.4 + shift, -0.9, -1.4]))
        self.output = nn.Conv3d(4, 4, 1)
        with torch.no_grad():
            self.output.weight.copy_(6 * torch.tril(torch.ones(4, 4))[..., None, None, None])
            self.output.bias.zero_()

    def forward(self, windows):
        steps = self.smooth(windows)
        return self.output(steps)


def make_world(folder: Path) -> Any:
    """Return params, paths, prepared phantoms and the parts of their export."""
    params = validate({
        "task": {"kind": "segmentation"},
        "schedule": "frozen",
        "data": {"source": "phantom", "patients": 9, "size": 20, "split": {"folds": 3, "test_fold": "all"}},
        "model": {"backbone": "none", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "none"}},
        "gate": {"metric": "dice"},
        "frozen": {"monitor": "dice"},
        "finetune": {"monitor": "dice"},
        "export": {"batch_sizes": [1, 3], "parity_images": 12},
        "tracking": {"mode": "disabled"},
    })  # fmt: skip
    paths = RunPaths(folder, folder / "cache")
    write_prepared_volumes(paths.prepared, params)
    prepared = load_prepared(paths.prepared)
    assert len(prepared.classes) == 3
    parts = VolumeExport(params, prepared)
    return SimpleNamespace(params=params, paths=paths, prepared=prepared, parts=parts, folder=folder)


def build(
    world: Any, networks: Sequence[nn.Module], folds: Sequence[int] = (), feature_limit: dict[str, Any] | None = None
) -> tuple[dict[str, Any], Any, Any]:
    """Return the document, the module and the graph of networks."""
    decision = {"kind": "post_processing", "largest": [1], "min_volume_mm3": 0.0, "evidence": {},
                "feature_limit": feature_limit}  # fmt: skip
    folds = folds or list(range(len(networks)))
    document = {
        "task": world.params.section("task"),
        "schema_version": 2,
        **task.describe(world.prepared, [{}], decision, 0),
        **world.parts.fields(folds, decision),
        "members": [{"fold": None if fold == REFIT else fold} for fold in folds],
        "precisions": {},
        "parity": {},
    }
    model = world.parts.combine([Member(network.eval(), task.output_layer({})) for network in networks], document)
    graph = to_onnx(model, world.parts.source, 20, {}, model.names)
    return document, model, graph


def write_bundle(world: Any, folder: Path, networks: Sequence[nn.Module], **volumes: Any) -> dict[str, Any]:
    """Write a bundle without parity check; `volumes` replaces entries of bundle.json, which is returned."""
    document, model, graph = build(world, networks)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    sample = np.random.default_rng(0).normal(size=(1, 1, *PATCH)).astype(np.float32)
    np.save(folder / "sample_input.npy", sample)
    with torch.inference_mode():
        np.save(folder / "sample_output.npy", model(torch.from_numpy(sample))[0].numpy())
    document |= {
        "precisions": {"fp32": {"file": "model.onnx", "shipped": True, "reason": None}},
        "parity": {"fp32": {"max_abs_diff": 0.0}},
        "params": world.params.model_dump(mode="json"),
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())},
    }
    document["volumes"] = {**document["volumes"], **volumes}
    (folder / "bundle.json").write_text(dump_manifest(document), encoding="utf-8")
    return document
