import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from medtune.data.sources import synthetic

SMALL = synthetic.Params(patients=8, images_per_patient=2)

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
    samples = synthetic.list_samples(None, synthetic.Params())
    assert len(samples) == 480
    assert [sample.path for sample in samples] == sorted({sample.path for sample in samples})
    tissues = {
        patient: {sample.label for sample in samples if sample.patient_id == patient}
        for patient in {sample.patient_id for sample in samples}
    }
    assert len(tissues) == 40
    assert all(len(labels) == 1 for labels in tissues.values())
    per_tissue = [sum(labels == {tissue} for labels in tissues.values()) for tissue in synthetic.TISSUES]
    assert per_tissue == [10, 10, 10, 10]


def test_samples__binary_task_has_the_same_images():
    four = synthetic.list_samples(None, SMALL)
    two = synthetic.list_samples(None, SMALL.model_copy(update={"labels": "binary"}))
    assert {sample.label for sample in two} == set(synthetic.classes(SMALL.model_copy(update={"labels": "binary"})))
    assert [sample.path for sample in four] == [sample.path for sample in two]
    np.testing.assert_array_equal(four[3].read(), two[3].read())


def test_images__same_bytes_in_every_process():
    expected = hashlib.sha256(
        b"".join(sample.read().tobytes() for sample in synthetic.list_samples(None, SMALL))
    ).hexdigest()
    for threads, hash_seed in (("1", "0"), ("2", "7")):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
        process = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        assert process.stdout.strip() == expected


def test_images__do_not_depend_on_their_number():
    larger_set = {
        sample.path: sample
        for sample in synthetic.list_samples(None, synthetic.Params(patients=12, images_per_patient=3))
    }
    for sample in synthetic.list_samples(None, SMALL)[::5]:
        np.testing.assert_array_equal(sample.read(), larger_set[sample.path].read())


def test_images__differ_within_a_set_and_between_seeds():
    images = [sample.read().tobytes() for sample in synthetic.list_samples(None, SMALL)]
    others = [sample.read().tobytes() for sample in synthetic.list_samples(None, SMALL.model_copy(update={"seed": 2}))]
    assert len({*images, *others}) == 32


@pytest.mark.parametrize("size", [8, 32, 100, 224])
def test_images__have_the_configured_size(size):
    for sample in synthetic.list_samples(None, synthetic.Params(patients=4, images_per_patient=1, image_size=size)):
        image = sample.read()
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert image.std() > 5


def test_read__can_be_pickled():
    sample = synthetic.list_samples(None, SMALL)[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sample.read))(), sample.read())


def test_stain__identifies_the_patient_but_not_the_class():
    samples = synthetic.list_samples(None, synthetic.Params(patients=24, images_per_patient=4, image_size=64))
    features = np.array([channel_statistics(sample.read()) for sample in samples])
    labels, patients = (
        np.array([sample.label for sample in samples]),
        np.array([sample.patient_id for sample in samples]),
    )
    distance = np.linalg.norm((features[:, None] - features[None]) / features.std(0), axis=2)
    np.fill_diagonal(distance, np.inf)
    by_image = (labels[distance.argmin(1)] == labels).mean()
    distance[patients[:, None] == patients[None]] = np.inf
    by_patient = (labels[distance.argmin(1)] == labels).mean()
    assert by_image > 0.8
    assert by_patient < by_image - 0.25


@pytest.mark.parametrize("values", [{"patients": 3}, {"images_per_patient": 0}, {"labels": "subtypes8"}, {"stain": 1}])
def test_params__reject_invalid_values(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        synthetic.Params(**values)
