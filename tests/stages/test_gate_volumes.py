"""The gate for volumes: single networks on unseen volumes, and a champion with another preparation."""

import shutil

import numpy as np
import pytest

from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.resampling import resampled_shape
from medtune.stages import gate, gate_volumes
from tests.volume_bundle_world import Threshold, make_world, write_bundle

RULE = {"largest": [1], "min_volume_mm3": 0.0}


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def champion(world, folder):
    manifest = (world.paths.prepared / "manifest.csv").read_text(encoding="utf-8")
    return gate.Champion("old", folder, manifest)


def test_run__compares_single_networks_paired_by_patient(world):
    folder = world.paths.stage("export")
    document = write_bundle(world, folder, [Threshold(0.0)] * 3)
    decision = gate.run(world.params, world.paths, None)
    assert decision.n_images == decision.n_patients == 9
    assert decision.metric == "dice"
    rows = np.arange(9)
    expected = gate_volumes.predict_volumes(folder, "all", document, world.prepared, rows, 0 * rows, world.params)
    dice = np.mean([[case.dice for case in volume] for volume in expected[0].cases])
    assert decision.challenger.score.value == pytest.approx(dice)

    shutil.copytree(folder, world.folder / "same")
    same = gate.run(world.params, world.paths, champion(world, world.folder / "same"))
    assert not same.promoted
    assert same.difference.value == 0

    write_bundle(world, world.folder / "worse", [Threshold(5.0)] * 3, spacing=[6.0, 6.0, 8.0])
    better = gate.run(world.params, world.paths, champion(world, world.folder / "worse"))
    assert better.challenger.score.value == pytest.approx(dice)
    assert better.difference.value == pytest.approx(dice - better.champion.score.value)
    assert better.difference.value > 0


def test_images__other_preparation_reads_the_source_again(world):
    write_bundle(world, world.folder / "same", [Threshold(0.0)])
    rows = np.arange(3)
    for folder, spacing in (("nearly", [5.0, 5.0, 6.0000001]), ("coarse", [7.0, 7.0, 9.0])):
        document = write_bundle(world, world.folder / folder, [Threshold(0.0)], spacing=spacing)
        assert document["volumes"]["spacing"] == spacing
        image = gate_volumes._images(VolumeBundle.load(world.folder / folder), world.prepared, rows, world.params)
        for row in rows.tolist():
            entry = world.prepared.volumes.entries[row]
            assert image(row).shape[1:] == resampled_shape(entry.original_shape, entry.spacing, spacing)
            if folder == "nearly":
                assert np.array_equal(image(row), world.prepared.volumes.image(row))


def test_member_document__has_the_post_processing_of_the_network():
    document = {"volumes": {"post_processing": RULE}, "members": [{"decision": {"kind": "x", "largest": [2]}}, {}]}
    assert gate_volumes.member_document(document, 0)["volumes"]["post_processing"]["largest"] == [2]
    assert gate_volumes.member_document(document, 1)["volumes"]["post_processing"] == RULE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"task": {"kind": "segmentation", "overlap": 0.2}}, None),
        ({"output": {"shape": ["N", 3, 32, 32, 32]}}, None),
        ({"task": {"kind": "classification"}}, "task.kind: segmentation, but classification for the champion"),
        ({"classes": ["liver"]}, "classes: ['liver', 'tumor'], but ['liver'] for the champion"),
        ({"volumes": {"channels": ["T1"]}}, "volumes.channels: ['CT'], but ['T1'] for the champion"),
    ],
)
def test_incompatibility__patch_and_overlap_may_differ(change, reason):
    document = {
        "task": {"kind": "segmentation", "overlap": 0.5},
        "classes": ["liver", "tumor"],
        "output": {"shape": ["N", 3, 64, 64, 64]},
        "volumes": {"channels": ["CT"]},
    }
    assert gate_volumes.incompatibility(document, {**document, **change}) == reason
