"""Files of label maps."""

import numpy as np
import pytest

from medtune.serving.volumes.pipeline import Segmentation
from medtune.tasks.segmentation.outputs import load_segmentation, segmentation_path, store_segmentation
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.temperature_grid import NODES
from medtune.tasks.segmentation.voxel_samples import VoxelSample


def test_load_segmentation__refuses_other_shapes_labels_and_damage(tmp_path):
    path = segmentation_path(tmp_path, "key", 7)
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    doubt = np.linspace(0, 1, 2 * NODES).reshape(NODES, 2)
    voxels = VoxelSample(labels.ravel(), np.random.default_rng(0).random((24, 3)).astype(np.float32))
    store_segmentation(path, RecordedSegmentation(labels, (0.25, float("nan")), doubt, voxels))
    found = load_segmentation(path, (2, 3, 4), 2)
    assert found is not None
    assert (found.uncertainties == doubt).all()
    assert (found.voxels.truth == voxels.truth).all()
    assert (found.voxels.probabilities == voxels.probabilities).all()
    store_segmentation(path.with_name("plain.npz"), Segmentation(labels, (0.5, 0.5)))
    plain = load_segmentation(path.with_name("plain.npz"), (2, 3, 4), 2)
    assert type(plain) is Segmentation
    assert (plain.labels == labels).all()
    assert (found.labels == labels).all()
    assert found.uncertainty == pytest.approx((0.25, float("nan")), nan_ok=True)
    assert load_segmentation(path, (2, 4, 3), 2) is None
    assert load_segmentation(path, (2, 3, 4), 1) is None
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    assert load_segmentation(path, (2, 3, 4), 2) is None
    assert load_segmentation(tmp_path / "absent", (2, 3, 4), 2) is None
