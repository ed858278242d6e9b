import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.sources import medmnist


def params(**options):
    return medmnist.Params(root="x", **options)


def write(file, splits=("train", "val", "test"), color=False, labels=(0, 1)):
    rng = np.random.default_rng(7)
    arrays = {}
    for split in splits:
        arrays[f"{split}_images"] = rng.integers(0, 256, (6, 8, 8, 3) if color else (6, 8, 8), np.uint8)
        arrays[f"{split}_labels"] = np.resize(np.array(labels, np.uint8), (6, 1))
    np.savez(file, **arrays)
    return arrays


@pytest.mark.parametrize("color", [False, True])
def test_samples__have_pixels_labels_and_published_splits(tmp_path, color):
    arrays = write(tmp_path / "pneumoniamnist.npz", color=color)
    samples = medmnist.list_samples(tmp_path, params(split={"protocol": "official"}))
    assert len(samples) == 18
    assert [sample.published_splits for sample in samples[::6]] == [("train",), ("val",), ("test",)]
    assert samples[1].label == "pneumonia"
    pixels = samples[8].read()
    expected = arrays["val_images"][2]
    assert np.array_equal(pixels, expected if color else np.repeat(expected[..., None], 3, 2))


def test_samples__other_file_names_and_a_file_as_root(tmp_path):
    write(tmp_path / "pneumoniamnist_trainval.npz", ("train", "val"))
    write(tmp_path / "pneumoniamnist_64.npz")
    assert len(medmnist.list_samples(tmp_path, params())) == 12
    assert len(medmnist.list_samples(tmp_path, params(size=64))) == 18
    assert len(medmnist.list_samples(tmp_path / "pneumoniamnist_64.npz", params())) == 18


def test_samples__official_needs_three_splits(tmp_path):
    write(tmp_path / "pneumoniamnist.npz", ("train", "val"))
    with pytest.raises(InputError, match=r"has no test images\. Use protocol image"):
        medmnist.list_samples(tmp_path, params(split={"protocol": "official"}))


def test_samples__missing_ambiguous_or_invalid_files_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"found none. Set data\.download=true"):
        medmnist.list_samples(tmp_path, params())
    write(tmp_path / "pneumoniamnist_a.npz")
    write(tmp_path / "pneumoniamnist_b.npz")
    with pytest.raises(InputError, match=r"found pneumoniamnist_a\.npz, pneumoniamnist_b\.npz"):
        medmnist.list_samples(tmp_path, params())
    write(tmp_path / "pneumoniamnist.npz", labels=(0, 5))
    with pytest.raises(InputError, match="row 1 is 5, but pneumoniamnist has no such class"):
        medmnist.list_samples(tmp_path, params())
    np.savez(tmp_path / "pneumoniamnist.npz", train_images=np.zeros((2, 8, 8)), train_labels=np.zeros((2, 1), int))
    with pytest.raises(InputError, match="float64"):
        medmnist.list_samples(tmp_path, params())


def test_fetch__verifies_the_published_md5(tmp_path, monkeypatch, server):
    write(tmp_path / "served.npz")
    server.content = (tmp_path / "served.npz").read_bytes()
    root = tmp_path / "raw"
    monkeypatch.setattr(medmnist, "URL", server.url + "?name={file}")
    with pytest.raises(InputError, match="published is 28209eda62fecd6e6a2d98b1501bb15f"):
        medmnist.fetch(root, params(download=True))
    assert list(root.iterdir()) == []
    medmnist.fetch(root, params(download=True, url=server.url))
    assert len(medmnist.list_samples(root, params())) == 18
    requests = len(server.range_headers)
    medmnist.fetch(root, params(download=True))
    assert len(server.range_headers) == requests


def test_tables__have_one_md5_per_size():
    assert set(medmnist.MD5) == set(medmnist.CLASSES)
    assert all(len(md5s) == 4 and {len(md5) for md5 in md5s} <= {0, 32} for md5s in medmnist.MD5.values())
    known = [md5 for md5s in medmnist.MD5.values() for md5 in md5s if md5]
    assert len(known) == len(set(known)) == 46


@pytest.mark.real
def test_samples__real_arrays(shared):
    samples = medmnist.list_samples(shared / "pneumoniamnist28", params())
    assert len(samples) == 5221
    assert sum(sample.label == "normal" for sample in samples) == 1348


@pytest.mark.parametrize(
    ("name", "reason"),
    [("AdrenalMNIST3D", "volumes")]
    + [(f"{organ}mnist3d", "volumes") for organ in ("adrenal", "fracture", "nodule", "organ", "synapse", "vessel")],
)
def test_subset__error_of_unsupported_sets_gives_the_reason(tmp_path, name, reason):
    with pytest.raises(ValueError, match=rf"cannot be used: .*{reason}"):
        params(subset=name)
    file = tmp_path / f"{name.lower()}_64.npz"
    np.savez(file, train_images=np.zeros((2, 8, 8, 8), np.uint8), train_labels=np.zeros((2, 14), np.uint8))
    with pytest.raises(InputError, match=rf"{name.lower()} cannot be used: .*{reason}"):
        medmnist.list_samples(file, params())


def test_metadata__grades_are_ordinal():
    assert medmnist.metadata(params(subset="retinamnist")) == {"label_type": "ordinal"}
    assert medmnist.metadata(params(subset="bloodmnist")) == {}


def chest(file, labels):
    images = np.zeros((len(labels), 8, 8), np.uint8)
    arrays = {f"{split}_{name}": array for split in ("train", "val", "test")
             for name, array in (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(file, **arrays)


def test_chestmnist__samples_have_findings(tmp_path):
    labels = np.zeros((3, 14), np.uint8)
    labels[0, [0, 13]] = labels[1, 2] = 1
    chest(tmp_path / "chestmnist.npz", labels)
    samples = medmnist.list_samples(tmp_path, params(subset="chestmnist", split={"protocol": "official"}))
    assert [sample.findings for sample in samples[:3]] == [("atelectasis", "hernia"), ("effusion",), ()]
    assert [sample.published_splits for sample in samples[::3]] == [("train",), ("val",), ("test",)]
    assert medmnist.metadata(params(subset="chestmnist")) == {"label_type": "multi"}
    assert params(subset="chestmnist").multi_label == "data.subset=chestmnist"
    assert params().multi_label is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 13), np.uint8), r"train_labels is uint8 \(3, 13\); expected \(3, 14\) integers"),
        (np.zeros((3, 14)), "float64"),
        (np.full((3, 14), 2, np.uint8), r"train_labels row 0 is \[2, 2.*expected 0 or 1 for each finding"),
    ],
)
def test_chestmnist__invalid_labels_are_an_error(tmp_path, labels, message):
    chest(tmp_path / "chestmnist.npz", labels)
    with pytest.raises(InputError, match=message):
        medmnist.list_samples(tmp_path, params(subset="chestmnist"))


def test_chestmnist__cannot_be_read_as_another_set(tmp_path):
    chest(tmp_path / "chestmnist.npz", np.zeros((3, 14), np.uint8))
    with pytest.raises(InputError, match=r"train_labels is uint8 \(3, 14\); expected \(3, 1\) integers"):
        medmnist.list_samples(tmp_path / "chestmnist.npz", params())
