"""Memory of `medtune predict` for a large volume and a real network, without torch, MONAI and SciPy."""

import nibabel as nib
import numpy as np
import pytest
import torch

from medtune.export import graph_input
from medtune.export.ensemble import Member
from medtune.export.onnx_graph import to_onnx
from medtune.export.volume_ensemble import VolumeEnsemble
from medtune.models.volume_networks import create_volume_network
from medtune.tasks.segmentation import export as task
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.slim_process import predict_slim
from tests.serving.volumes.volume_files import make_affine, write_nifti

pytest.importorskip("monai")
PATCH = (64, 64, 64)
SHAPE = (197, 233, 189)
N_LABELS = 8
MAX_BYTES = 4e9


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A U-Net of MONAI with random weights, exported once. It needs another spacing than the volumes have."""
    torch.manual_seed(0)
    args = {"channels": [4, 8], "strides": [2], "num_res_units": 0}
    network = create_volume_network("unet", 1, 1 + N_LABELS, args=args)
    model = VolumeEnsemble([Member(network.eval(), task.output_layer({}))], "probabilities")
    graph = to_onnx(model, graph_input.windows(1, PATCH), 20, {}, model.names)
    folder = tiny.write_bundle(tmp_path_factory.mktemp("memory") / "bundle")
    volumes = {"patch": list(PATCH), "overlap": 0.0, "spacing": [1.5, 1.5, 1.5]}
    document = tiny.read_manifest(folder)
    return tiny.replace_files(
        folder,
        {"model.onnx": graph.SerializeToString()},
        classes=[f"label{number}" for number in range(1, N_LABELS + 1)],
        input={**document["input"], "shape": ["N", 1, *PATCH]},
        output={**document["output"], "shape": ["N", 1 + N_LABELS, *PATCH]},
        volumes={**document["volumes"], **volumes},
        members=[{"fold": 0}],
    )


@pytest.mark.slow
def test_predict__large_volume_needs_less_than_4_gb(tmp_path, bundle):
    values = np.random.default_rng(0).integers(0, 400, SHAPE).astype(np.int16)
    affine = make_affine((1, 1, 1), (0.1, 0.05, 0))
    file = write_nifti(tmp_path / "scan.nii", values, affine)
    assert predict_slim(bundle, file, tmp_path / "out") < MAX_BYTES
    labels = nib.load(tmp_path / "out" / "scan.nii.gz")
    assert labels.shape == SHAPE
    np.testing.assert_array_equal(labels.affine, nib.load(file).affine)
    assert len(np.unique(np.asarray(labels.dataobj))) > 1
