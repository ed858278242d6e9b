"""Export of volume networks: the graph equals the networks, and the parity check notices differences."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medtune.export.onnx_file import RunningGraph
from medtune.export.precisions import FILES, PrecisionExporter, predictor, session
from medtune.export.volume_export import VolumeExport
from medtune.models.slice_network import SliceNetwork
from medtune.serving.members import REFIT
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.network_features import FeatureLimit, FeatureSums, distance
from medtune.serving.volumes.nifti import write_label_map
from medtune.serving.volumes.nifti_space import NiftiSpace
from medtune.serving.volumes.pipeline import segment
from medtune.serving.volumes.volume import make_grid
from medtune.tasks.segmentation.feature_space import FEATURES_FILE, FeatureSpace, write_spaces
from medtune.tasks.segmentation.inference import mean_run, segment_volume, torch_run, training_features
from tests.volume_bundle_world import PATCH, Threshold, build, make_world, write_bundle


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def test_fields__describe_the_input_and_the_training_volumes(world):
    fields = world.parts.fields([0], {"kind": "post_processing", "largest": [1], "min_volume_mm3": 0.0, "evidence": {}})
    assert fields["input"]["shape"] == ["N", 1, *PATCH]
    volumes = fields["volumes"]
    assert volumes["patch"] == list(PATCH)
    assert volumes["overlap"] == 0.5
    assert volumes["post_processing"] == {"largest": [1], "min_volume_mm3": 0.0}
    rows = world.prepared.indices(0)["train"]
    spacing = np.array([world.prepared.volumes.entries[row].spacing for row in rows])
    limits = np.stack([spacing.min(axis=0), spacing.max(axis=0)], axis=1)
    np.testing.assert_allclose(volumes["training_range"]["spacing"], limits)


def test_export__windows_and_volumes_agree_with_the_networks(world):
    document, model, graph = build(world, [Threshold(0.0), Threshold(0.1)])
    check = world.parts.check(model, [0, 1, 2], document)
    assert check.images.shape[1:] == (1, *PATCH)
    assert len(check.images) == 12
    assert set(np.unique(check.masks)) == {0, 1, 2, 3}
    assert len(check.rows) == 4
    assert all(len(np.unique(labels)) > 1 for labels in check.labels)
    exporter = PrecisionExporter(graph, check, lambda: world.parts.calibration([0]), world.params.export)
    for precision in ("fp32", "fp16", "int8"):
        exporter.export(world.folder, document, precision)
    fp32, fp16 = document["parity"]["fp32"], document["parity"]["fp16"]
    assert document["precisions"]["fp32"]["shipped"]
    assert fp32["max_abs_diff"] <= 1e-5
    assert set(fp32["max_abs_diff_by_batch_size"]) == {"1", "3"}
    assert fp32["windows"] == 12
    assert fp32["volumes"]["label_agreement_min"] >= 0.999
    assert fp32["volumes"]["volumes"] == 4
    assert fp16["max_abs_diff"] > fp32["max_abs_diff"]
    assert fp16["volumes"]["dice"] == pytest.approx(fp32["volumes"]["dice"], abs=0.01)
    assert document["precisions"]["int8"]["reason"] == (
        "int8 is not supported for volumes. Remove it from export.precisions"
    )
    bundle = world.parts.open(world.folder, document, session((world.folder / FILES["fp32"]).read_bytes()))
    row = check.rows[0]
    windows = check.images[:2]
    np.testing.assert_allclose(bundle.run(windows), check.reference[:2, 0], atol=1e-5)
    np.testing.assert_allclose(bundle.run_member(windows, 1), check.reference[:2, 2], atol=1e-5)
    assert check.samples(4).shape == (1, 1, *PATCH)
    assert check.labels[0].shape == tuple(world.prepared.volumes.entries[row].original_shape)


def test_export__a_different_graph_is_rejected(world):
    document, model, _ = build(world, [Threshold(0.0)])
    _, _, other = build(world, [Threshold(0.3)])
    check = world.parts.check(model, [0], document)
    metrics, reason = check.evaluate(predictor(other.SerializeToString()), "fp32", world.params.export)
    assert reason.startswith("outputs differ by up to")
    assert "volumes" not in metrics
    metrics, reason = check.evaluate(predictor(other.SerializeToString()), "fp16", world.params.export)
    drop = metrics["volumes"]["dice_reference"] - metrics["volumes"]["dice"]
    assert (reason is not None) == (drop > 0.001)
    broken = lambda windows: np.full_like(predictor(other.SerializeToString())(windows), np.nan)  # noqa: E731
    assert "NaN" in check.evaluate(broken, "fp16", world.params.export)[1]


@pytest.mark.parametrize("refit", [False, True])
def test_bundle__features_equal_those_of_the_networks(world, refit):
    folds = [REFIT] if refit else [0, 1]
    networks, spaces = [SliceNetwork(None, 1, 4, PATCH, width=4).eval() for _ in folds], {}
    for fold, network in zip(folds, networks, strict=True):
        features = training_features(world.prepared, fold, network, "cpu", 0.5, ())
        # Without whitening, differences are those of the features themselves.
        spaces[fold] = FeatureSpace.fit(features) if refit else FeatureSpace(features.mean(axis=0), np.eye(40))
    write_spaces(world.folder / FEATURES_FILE, {} if refit else spaces)
    world.parts = VolumeExport(world.params, world.prepared, world.folder)
    limit = FeatureLimit(0.01, 0.9, 9, 2 * (16 + 4)).document()
    document, model, graph = build(world, networks, folds, limit)
    bundle = world.parts.open(world.folder, document, session(graph.SerializeToString()))
    check = world.parts.check(model, [0, 1], document)
    output, features = bundle.run_with_features(check.images[:8])
    assert features.shape == (8, len(folds), 40)
    tolerance = 1e-4 * np.abs(check.features).max() if refit else 1e-4
    assert np.abs(features - check.features).max() < tolerance
    assert np.array_equal(output, bundle.run(check.images[:8]))
    running = RunningGraph(bundle.session)
    metrics, _ = check.subset(8).evaluate(running, "fp32", world.params.export)
    assert metrics["features"]["max_abs_diff"] < tolerance
    shifted = replace(check.subset(2), features=check.features[:2] + 0.1)
    assert shifted.evaluate(running, "fp32", world.params.export)[1].startswith("features differ by")
    for row in (0, 4):
        entry, image = world.prepared.volumes.entries[row], world.prepared.volumes.image(row)
        found = bundle.segment_prepared(image, tuple(entry.original_shape), entry.spacing)
        sums = [FeatureSums() for _ in folds]
        run = mean_run([torch_run(network, "cpu", part) for network, part in zip(networks, sums, strict=True)])
        raw = segment_volume(world.prepared, row, run, PATCH, 0.5, features=sums).features
        expected = [spaces[fold].whiten(values) for fold, values in zip(folds, raw, strict=True)]
        assert np.abs(found.features - expected).max() < tolerance
        flags = bundle.settings.differences(entry.original_shape, entry.spacing, entry.quantiles, found.features)
        assert flags[-1] == f"network features: distance {distance(found.features):.4g} (limit 0.01)"


def test_fields__without_the_features_of_a_fold_have_no_limit(world):
    write_spaces(world.folder / FEATURES_FILE, {0: FeatureSpace(np.zeros(2), np.eye(2))})
    parts = VolumeExport(world.params, world.prepared, world.folder)
    decision = {"largest": [], "min_volume_mm3": 0.0, "feature_limit": FeatureLimit(1.0, 0.9, 9, 2).document()}
    assert parts.fields([0], decision)["volumes"]["feature_limit"]["limit"] == 1
    for found in (parts.fields([0, 1], decision), parts.fields([0], {**decision, "feature_limit": None})):
        assert "feature_limit" not in found["volumes"]


def test_bundle__mirrored_views_and_temperature_equal_the_training_code(world):
    networks = [Threshold(0.0), Threshold(0.1)]
    with torch.no_grad():
        for network in networks:
            network.smooth.weight[..., 0] *= 2  # otherwise mirrored windows have mirrored outputs
    augment = world.params.task.augment.model_copy(update={"mirror": ["x", "z"]})
    task = world.params.task.model_copy(update={"augment": augment, "mirror_views": ["z", "x"]})
    world.parts = VolumeExport(world.params.model_copy(update={"task": task}), world.prepared)
    document = write_bundle(world, world.folder / "bundle", networks, temperature=1.7)
    assert document["volumes"]["mirror_views"] == ["z", "x"]
    bundle = VolumeBundle.load(world.folder / "bundle")
    settings, run = bundle.settings, mean_run([torch_run(network, "cpu") for network in networks])
    for row in (0, 4):
        entry = world.prepared.volumes.entries[row]
        arguments = (world.prepared.volumes.image(row), tuple(entry.original_shape), entry.spacing,
                     settings.preparation, bundle.run, settings.patch, settings.overlap, 3)  # fmt: skip
        found = segment(*arguments, views=settings.views, temperature=settings.temperature)
        expected = segment_volume(world.prepared, row, run, PATCH, 0.5, views=task.views)
        assert (found.labels == expected.labels).mean() > 0.9999
        assert found.uncertainty == pytest.approx(expected.uncertainty_at(1.7), abs=1e-4)
        assert found.uncertainty != pytest.approx(expected.uncertainty, abs=1e-2)
        assert (found.labels != segment(*arguments).labels).any()


def write_evaluated(world, check, bundle, folder):
    """Write the label maps of stage evaluate for the volumes of a check, and return its artifact."""
    (folder / "segmentations").mkdir(parents=True)
    for row in check.rows:
        fold = next(fold for fold in (0, 1) if row in world.prepared.indices(fold)["test"])
        (labels,) = check.segment_all(lambda windows, fold=fold: bundle.run_member(windows, fold), [row], "test")
        entry = world.prepared.volumes.entries[row]
        grid = make_grid(labels.shape, np.array(entry.affine), NiftiSpace.from_affine(np.array(entry.affine)))
        write_label_map(folder / "segmentations" / f"{world.prepared.paths[row]}.nii.gz", labels, grid)
    return SimpleNamespace(folder=folder)


def test_compare_predictions__uses_the_network_of_the_fold(world):
    document, model, graph = build(world, [Threshold(0.0), Threshold(0.4)])
    check = world.parts.check(model, [0, 1], document)
    (world.folder / "m.onnx").write_bytes(graph.SerializeToString())
    bundle = world.parts.open(world.folder, document, session((world.folder / "m.onnx").read_bytes()))
    evaluated = write_evaluated(world, check, bundle, world.folder / "evaluate")
    result = world.parts.compare_predictions(check, bundle, [0, 1], evaluated)
    assert result == {"against": "segmentations", "volumes": len(check.rows), "label_agreement_min": 1.0}
    with pytest.raises(RuntimeError, match=r"of the voxels of segmentations/P\d+\.nii\.gz have the label"):
        world.parts.compare_predictions(
            check, bundle, [1, 0], write_evaluated(world, check, bundle, world.folder / "b")
        )
