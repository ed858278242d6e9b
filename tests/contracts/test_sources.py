"""Contract of the data sources in medtune/data/sources; a new file is tested automatically."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medtune.config import load, registry
from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.data.listing import image_path
from medtune.data.splits import split_samples
from medtune.runtime.artifact import digest
from medtune.serving.decode import decode
from medtune.serving.volumes.dicom_series import read_series

SOURCES = registry.plugin_names("medtune.data.sources")


def has_volumes(name):
    return registry.load_plugin("medtune.data.sources", name, "data.source").Params().has_volumes


VOLUMES = [name for name in SOURCES if has_volumes(name)]
IMAGES = [name for name in SOURCES if name not in VOLUMES]


@pytest.fixture(params=SOURCES)
def case(request, tmp_path):
    source = registry.load_plugin("medtune.data.sources", request.param, "data.source")
    options = source.example(tmp_path) if hasattr(source, "example") else {}  # other sources generate images
    return source, tmp_path, source.Params(root=str(tmp_path), **options)


@pytest.mark.parametrize("name", SOURCES)
def test_source__defines_all_attributes(name):
    source = registry.load_plugin("medtune.data.sources", name, "data.source")
    assert issubclass(source.Params, DataParams)
    assert source.Params().source == name
    assert all(isinstance(text, str) and text for text in (source.NAME, source.LICENSE, source.CITATION))
    assert isinstance(source.KNOWN_ISSUES, tuple)
    assert isinstance(source.classes(source.Params()), tuple)
    assert source.__doc__.startswith(f"Source `{name}`: ")


def test_records__satisfy_the_contract(case):
    source, root, params = case
    records = source.list_samples(root, params)
    labels = tuple(sorted({record.label for record in records}))
    # The classes of volumes are the labels of the masks, and `label` only stratifies the split.
    classes = labels if params.has_volumes else source.classes(params) or labels
    paths = [record.path for record in records]
    assert len(paths) == len(set(paths)) > 0
    assert all(not path.startswith("/") and ".." not in path.split("/") and "\\" not in path for path in paths)
    assert {record.label for record in records} <= set(classes)
    assert len({record.patient_id is None for record in records}) == 1
    assert all(record.patient_id != "" for record in records)
    assert len({tuple(record.metadata) for record in records}) == 1
    assert all(isinstance(value, str) for record in records for value in record.metadata.values())
    assert source.list_samples(root, params) == records
    split_samples(records, classes, params.split, params.source, min_classes=1 if params.has_volumes else 2)
    assert {record.volume is not None for record in records} == {params.has_volumes}


@pytest.mark.parametrize("case", IMAGES, indirect=True)
def test_records__pixels_are_eight_bit_rgb(case):
    source, root, params = case
    records = source.list_samples(root, params)[:3]
    if hasattr(source, "cut"):
        records = source.cut(records, root, params).tiles[:3]
    for record in records:
        pixels = record.read() if record.read else decode(image_path(record, root)).pixels
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


@pytest.mark.parametrize("case", VOLUMES, indirect=True)
def test_records__volumes_and_masks_agree(case):
    source, root, params = case
    records = source.list_samples(root, params)
    labels, channels = source.classes(params), source.channels(params)
    assert len(set(labels)) == len(labels) > 0
    assert 1 <= len(channels) <= 4
    found = set()
    for record in records:
        image, mask, affines = read_volume(record.volume)
        assert image.shape == (len(channels), *mask.shape)
        assert mask.ndim == 3
        assert mask.dtype == np.uint8
        for affine in affines:
            np.testing.assert_allclose(affine, affines[0], atol=1e-3)
        assert np.isfinite(image).all()
        assert image.std() > 0
        found |= set(np.unique(mask).tolist())
    assert found == set(range(len(labels) + 1))


def read_volume(volume):
    """Return the image (C, X, Y, Z), the mask (X, Y, Z) and the affines of all files."""
    if volume.read is not None:
        image, mask, affine = volume.read()
        assert image.dtype == np.float32
        return image, mask, [affine]
    if volume.series is not None:
        mask = nib.as_closest_canonical(nib.load(volume.mask))
        series = read_series(volume.series)
        return series.data, np.asarray(mask.dataobj), [series.affine, mask.affine]
    if volume.is_image:
        *images, mask = (np.asarray(Image.open(file)) for file in volume.files)
        return np.moveaxis(images[0], 2, 0)[..., None], mask[..., None], [np.eye(4)]
    files = [nib.load(file) for file in volume.files]
    *channels, mask = (np.asarray(file.dataobj) for file in files)
    axes = [channel[..., None] if channel.ndim == 3 else channel for channel in channels]
    return np.moveaxis(np.concatenate(axes, axis=-1), -1, 0), mask, [file.affine for file in files]


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes__are_refused_by_tasks_of_images(name):
    with pytest.raises(InputError, match=rf"task\.kind=classification: data\.source={name} contains volumes") as error:
        load.load(sets=[f"data.source={name}", "data.root=."])
    assert "\n" not in str(error.value)


def test_params__have_a_reproducible_digest(case):
    _, _, params = case
    assert digest(params.model_dump(mode="json")) == digest(type(params)(**params.model_dump()).model_dump(mode="json"))


def test_sources__import_nothing_heavy():
    code = (
        "import sys\nfrom medtune.config import registry\n"
        "for name in registry.plugin_names('medtune.data.sources'):\n"
        "    registry.load_plugin('medtune.data.sources', name, 'x')\n"
        "import medtune.stages.data\n"
        "heavy = {'torch', 'prefect', 'sklearn', 'scipy', 'imagehash', 'httpx', 'nibabel'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=120)
