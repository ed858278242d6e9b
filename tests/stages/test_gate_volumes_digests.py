"""The gate for volumes whose files have changed since the champion was accepted."""

import csv
import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.manifest import DIGEST_COLUMNS
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.stages import gate_volumes
from medtune.stages.gate_selection import common_images
from tests.stages.volume_folder import change, prepare, write_example
from tests.volume_bundle_world import Threshold, make_world, write_bundle


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def manifest_of(folder, edit=lambda row: None):
    """Return manifest.csv after `edit` of each row."""
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        edit(row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def set_values(values, of, row):
    if row["path"] == of:
        row.update(values)


def drop_digests(row):
    for name in DIGEST_COLUMNS:
        del row[name]


def test_data__digests_follow_image_and_mask(tmp_path):
    section = write_example("volumes", tmp_path / "raw")
    first = prepare(section, tmp_path / "first")
    mask = tmp_path / "raw" / "masks" / "3.nii.gz"
    change(mask, np.roll(change_of(mask), 1, axis=2))
    second = prepare(section, tmp_path / "second")
    row = first.paths.index("images/3.nii.gz")
    for name, expected in zip(DIGEST_COLUMNS, ([], [row]), strict=True):
        before, after = first.file_digests[name], second.file_digests[name]
        assert [k for k in range(len(before)) if before[k] != after[k]] == expected
        assert len(set(before)) == 12
    assert first.names == second.names  # the stratum alone does not show the change
    assert first.metadata_cells.keys().isdisjoint(DIGEST_COLUMNS)


def change_of(path):
    import nibabel as nib

    return np.asarray(nib.load(path).dataobj)


def test_common_images__changed_mask_is_refused(world):
    path, rows = world.prepared.paths[4], np.arange(9)
    changed = manifest_of(world.paths.prepared, partial(set_values, {"mask_sha256": "0" * 64}, path))
    selected, _, notes, message = common_images(world.prepared, rows, 0 * rows, changed, [0, 1, 2])
    assert message.startswith(f"masks of 1 test volumes changed since the champion was accepted (first: {path})")
    assert (len(selected), notes) == (9, [])

    # A manifest of an earlier version has no digests, so only the strata are compared.
    earlier = manifest_of(world.paths.prepared, drop_digests)
    *_, message = common_images(world.prepared, rows, 0 * rows, earlier, [0, 1, 2])
    assert message == ""


def test_common_images__copy_at_another_spacing_was_seen(world):
    """A renamed training volume of the champion has another digest of the prepared volume, but the same values."""
    row = int(world.prepared.indices(0)["test"][0])
    path = world.prepared.paths[row]
    renamed = {"path": "renamed", "patient": "renamed", "sha256": "1" * 64, "mask_sha256": "2" * 64, "role_0": "train"}
    manifest = manifest_of(world.paths.prepared, partial(set_values, renamed, path))
    rows = np.arange(len(world.prepared.paths))
    selected, _, notes, message = common_images(world.prepared, rows, 0 * rows, manifest, [0])
    assert row not in rows[selected]
    assert any("identical images in the training data of the champion: 1 test image (first:" in note for note in notes)
    assert message == ""


def test_images__changed_values_of_a_file_are_refused(world):
    write_bundle(world, world.folder / "coarse", [Threshold(0.0)], spacing=[7.0, 7.0, 9.0])
    bundle, rows = VolumeBundle.load(world.folder / "coarse"), np.arange(2)
    digests = {DIGEST_COLUMNS[0]: (world.prepared.file_digests[DIGEST_COLUMNS[0]][0], *["0" * 64] * 8)}
    image = gate_volumes._images(bundle, replace(world.prepared, file_digests=digests), rows, world.params)
    assert image(0).ndim == 4
    with pytest.raises(InputError, match=r"P\d+: the files have changed\. Run `medtune data`"):
        image(1)
