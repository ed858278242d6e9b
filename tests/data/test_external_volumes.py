"""External volumes in all layouts: the same prepared volumes, with the label numbers of the bundle."""

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.external_volume_params import external_volume_params
from medtune.data.external_volumes import list_volumes, prepare_external_volumes
from medtune.data.sources import masks
from medtune.serving.manifest import read_manifest
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.document import VolumeSettings
from medtune.serving.volumes.image_file import read_image
from medtune.tasks.segmentation import targets
from medtune.tasks.segmentation.label_maps import output_suffix
from tests.serving.volumes.tiny_volume_bundle import write_bundle
from tests.stages.external_volume_world import NAMES, case, save, write_decathlon, write_folders, write_nnunet


@pytest.fixture
def bundle(tmp_path):
    return VolumeBundle.load(write_bundle(tmp_path / "bundle"))


def prepared_from(bundle, data, folder, sets=()):
    params = external_volume_params(bundle.manifest, data, sets)
    listing = list_volumes(
        params.data, bundle.classes, bundle.settings.channels, params.label_map, params.channel_names
    )
    folder.mkdir()
    return prepare_external_volumes(listing, params.data, bundle.settings, folder, "name", targets)


@pytest.mark.parametrize(
    ("write", "table", "sets"),
    [
        (write_nnunet, "", ["data.patient_pattern=(P[0-9])_"]),
        (write_decathlon, "", ["data.patient_pattern=(P[0-9])_"]),
        (write_folders, "", ["data.patient_pattern=(P[0-9])_"]),
        (write_folders, "volumes.csv", []),
    ],
)
def test_prepare__every_layout_gives_the_masks_of_the_bundle(tmp_path, bundle, write, table, sets):
    root = write(tmp_path / "data")
    prepared = prepared_from(bundle, root / table, tmp_path / "work", sets)
    assert prepared.classes == ("organ", "lesion")
    assert prepared.patient_ids.tolist() == [name[:2] for name in NAMES]
    assert prepared.indices(0)["test"].tolist() == [0, 1, 2, 3]
    for row in range(len(NAMES)):
        values, mask, spacing = case(row)
        entry = prepared.volumes.entries[row]
        assert np.array_equal(prepared.volumes.truth(row), mask)
        assert list(entry.voxels) == [(mask == 1).sum(), (mask == 2).sum()]
        expected = bundle.settings.preparation.apply(values[None], (1.0, 1.0, spacing))
        assert np.array_equal(prepared.volumes.image(row), expected)
    assert prepared.volumes.entries[3].shape[2] == 48  # spacing 6 mm instead of 2 mm
    assert set(prepared.metadata_cells) == ({"site"} if table else set())


def test_prepare__labels_and_channels_are_renamed(tmp_path, bundle):
    root = write_nnunet(tmp_path / "data", {"background": 0, "node": 2, "lesion": 1}, ("MR",))
    sets = ["data.label_map={node: organ}", "data.channel_names=[CT]"]
    prepared = prepared_from(bundle, root, tmp_path / "work", sets)
    assert np.array_equal(prepared.volumes.truth(1), case(1)[1])


def test_prepare__bad_volumes_are_left_out_on_request(tmp_path, bundle):
    root = write_folders(tmp_path / "data")
    (root / "images" / "P0_b.nii.gz").write_bytes(b"no volume")
    values, _, spacing = case(2)
    save(root / "images" / "P1_a.nii.gz", values + 10_000, spacing)
    prepared = prepared_from(bundle, root, tmp_path / "work", ["data.on_bad_image=reject"])
    assert prepared.paths == ("images/P0_a.nii.gz", "images/P2_a.nii.gz")
    assert any(note.startswith("Left out: 2 of 4 volumes that cannot be used") for note in prepared.info["notes"])


@pytest.mark.parametrize(
    ("labels", "channels", "message"),
    [
        ({"background": 0, "organ": 1, "tumor": 2}, ("CT",), "labels tumor are not classes of the bundle"),
        ({"background": 0, "organ": 1}, ("CT",), "the bundle also predicts lesion, but the data have no such label"),
        (None, ("MR",), "the channels of the data are MR, but those of the bundle are CT. If the files show the same"),
        (None, ("CT", "PET"), "the channels of the data are CT, PET, but those of the bundle are CT. Use data with"),
    ],
)
def test_list__labels_and_channels_must_be_those_of_the_bundle(tmp_path, bundle, labels, channels, message):
    root = write_nnunet(tmp_path / "data", labels, channels)
    params = external_volume_params(bundle.manifest, root)
    with pytest.raises(InputError, match=message):
        list_volumes(params.data, bundle.classes, bundle.settings.channels, params.label_map)


def test_prepare__images_have_the_pixel_spacing_of_the_bundle(tmp_path):
    section = masks.example(tmp_path / "data")
    document = read_manifest(write_bundle(tmp_path / "bundle", ("red", "green", "blue")))
    document["classes"] = section["class_names"]
    images = {"patch": [8, 8, 1], "spacing": [0.5, 0.5, 1.0], "images": {"pixel_mm": [0.25, 0.25]}}
    document |= {"volumes": {**document["volumes"], **images}, "params": {"data": {"source": "masks", "color": "rgb"}}}
    params, settings = external_volume_params(document, tmp_path / "data"), VolumeSettings.from_document(document)

    def prepare(entry, folder):
        names = (document["classes"], settings.channels)
        listing = list_volumes(params.data, *names, params.label_map, params.channel_names, entry)
        folder.mkdir()
        return prepare_external_volumes(listing, params.data, settings, folder, "name", targets)

    prepared = prepare(images["images"], tmp_path / "work")
    volume = read_image(tmp_path / "data" / "images" / "P0_0.png", 3, settings.pixel_mm)
    entry = prepared.volumes.entries[0]
    assert (list(entry.spacing), list(entry.original_shape)) == ([0.25, 0.25, 1.0], [32, 24, 1])
    assert prepared.volumes.image(0).shape == (3, 16, 12, 1)
    assert np.array_equal(prepared.volumes.image(0), settings.preparation.apply(volume.data, volume.spacing))
    assert output_suffix(prepared) == ".png"
    with pytest.raises(InputError, match=r"images/P0_0.png: the pixel spacing is unknown, .* Add a column spacing"):
        prepare({"pixel_mm": None}, tmp_path / "other")


def test_params__bundle_for_images_refuses_volumes(tmp_path, bundle):
    document = {**bundle.manifest, "volumes": {**bundle.manifest["volumes"], "images": {"pixel_mm": [1.0, 1.0]}}}
    root = write_nnunet(tmp_path / "data")
    with pytest.raises(InputError, match="the bundle segments two-dimensional images, but the source reads volumes"):
        external_volume_params(document, root)


def test_params__series_are_read_if_the_bundle_was_trained_on_series(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    document = read_manifest(write_bundle(tmp_path / "bundle"))
    for source, expected in (("dicom", "dicom"), ("nnunet", "volumes"), ("other", "volumes")):
        found = external_volume_params({**document, "params": {"data": {"source": source}}}, tmp_path)
        assert found.data.source == expected
        assert found.data.class_names == ["organ", "lesion"]
