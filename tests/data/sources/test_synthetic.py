import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from medtune.data.sources import synthetic

SOME = synthetic.Params(patients=8, images_per_patient=2)

DIGEST = """
import hashlib, sys
from medtune.data.sources import synthetic
records = synthetic.list_samples(None, synthetic.Params(patients=8, images_per_patient=2))
print(hashlib.sha256(b"".join(r.read().tobytes() for r in records)).hexdigest())
assert not {"torch", "prefect", "timm"} & set(sys.modules)
"""


def channel_statistics(image):
    """Return the mean of each channel and of its darkest tenth, which depend on stain but not on arrangement."""
    pixels = image.reshape(-1, 3).astype(float)
    return np.concatenate([pixels.mean(0), np.percentile(pixels, 10, axis=0)])


def test_samples__default_is_40_patients_with_one_tissue():
    found = synthetic.list_samples(None, synthetic.Params())
    assert len(found) == 480
    assert [r.path for r in found] == sorted({r.path for r in found})
    tissues = {group: {r.label for r in found if r.patient_id == group} for group in {r.patient_id for r in found}}
    assert len(tissues) == 40
    assert all(len(labels) == 1 for labels in tissues.values())
    per_tissue = [sum(labels == {tissue} for labels in tissues.values()) for tissue in synthetic.TISSUES]
    assert per_tissue == [10, 10, 10, 10]


def test_samples__binary_task_keeps_the_pictures():
    four = synthetic.list_samples(None, SOME)
    two = synthetic.list_samples(None, SOME.model_copy(update={"labels": "binary"}))
    assert {r.label for r in two} == set(synthetic.classes(SOME.model_copy(update={"labels": "binary"})))
    assert [r.path for r in four] == [r.path for r in two]
    np.testing.assert_array_equal(four[3].read(), two[3].read())


def test_images__same_bytes_in_every_process():
    here = hashlib.sha256(b"".join(r.read().tobytes() for r in synthetic.list_samples(None, SOME))).hexdigest()
    for threads, hash_seed in (("1", "0"), ("2", "7")):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
        there = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        assert there.stdout.strip() == here


def test_images__do_not_depend_on_how_many_are_asked_for():
    more = {r.path: r for r in synthetic.list_samples(None, synthetic.Params(patients=12, images_per_patient=3))}
    for record in synthetic.list_samples(None, SOME)[::5]:
        np.testing.assert_array_equal(record.read(), more[record.path].read())


def test_images__differ_from_each_other_and_with_the_seed():
    images = [r.read().tobytes() for r in synthetic.list_samples(None, SOME)]
    others = [r.read().tobytes() for r in synthetic.list_samples(None, SOME.model_copy(update={"seed": 2}))]
    assert len({*images, *others}) == 32


@pytest.mark.parametrize("size", [8, 32, 100, 224])
def test_images__have_the_size_asked_for(size):
    for record in synthetic.list_samples(None, synthetic.Params(patients=4, images_per_patient=1, image_size=size)):
        image = record.read()
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert image.std() > 5


def test_load__survives_pickling():
    record = synthetic.list_samples(None, SOME)[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(record.read))(), record.read())


def test_stain__tells_the_patient_and_so_the_class_to_an_image_split_only():
    found = synthetic.list_samples(None, synthetic.Params(patients=24, images_per_patient=4, image_size=64))
    features = np.array([channel_statistics(r.read()) for r in found])
    labels, groups = np.array([r.label for r in found]), np.array([r.patient_id for r in found])
    distance = np.linalg.norm((features[:, None] - features[None]) / features.std(0), axis=2)
    np.fill_diagonal(distance, np.inf)
    by_image = (labels[distance.argmin(1)] == labels).mean()
    distance[groups[:, None] == groups[None]] = np.inf
    by_patient = (labels[distance.argmin(1)] == labels).mean()
    assert by_image > 0.8
    assert by_patient < by_image - 0.25


@pytest.mark.parametrize("wrong", [{"patients": 3}, {"images_per_patient": 0}, {"labels": "subtypes8"}, {"stain": 1}])
def test_params__invalid_values(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        synthetic.Params(**wrong)
