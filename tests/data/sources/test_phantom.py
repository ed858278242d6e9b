import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from medtune.data.sources import phantom

SMALL = phantom.Params(patients=9, size=16)

DIGEST = """
import hashlib, sys
from medtune.data.sources import phantom
samples = phantom.list_samples(None, phantom.Params(patients=9, size=16))
volumes = [sample.volume.read() for sample in samples]
print(hashlib.sha256(b"".join(part.tobytes() for volume in volumes for part in volume)).hexdigest())
assert not {"torch", "scipy", "nibabel"} & set(sys.modules)
"""


def test_samples__default_is_one_volume_of_48_voxels_per_patient():
    samples = phantom.list_samples(None, phantom.Params())
    assert len({sample.patient_id for sample in samples}) == len(samples) == 24
    assert [sample.path for sample in samples] == sorted(sample.path for sample in samples)
    for column, value in (("lesion", "no"), ("slices", "thick")):
        assert sum(sample.metadata[column] == value for sample in samples) == 8
    volume = samples[1].volume.read()
    assert volume.image.shape == (1, 48, 48, 48)


def test_samples__lesion_and_slices_are_independent():
    samples = phantom.list_samples(None, phantom.Params(patients=9))
    pairs = [(sample.metadata["lesion"], sample.metadata["slices"]) for sample in samples]
    assert {pair: pairs.count(pair) for pair in pairs} == {
        ("no", "thick"): 1, ("no", "thin"): 2, ("yes", "thick"): 2, ("yes", "thin"): 4,
    }  # fmt: skip


def test_samples__describe_their_volumes():
    for sample in phantom.list_samples(None, SMALL):
        volume = sample.volume.read()
        assert (3 in volume.mask) == (sample.metadata["lesion"] == "yes") == (sample.label == "lesion")
        assert set(np.unique(volume.mask)) - {3} == {0, 1, 2}
        shape = sorted(volume.mask.shape)
        assert shape[1:] == [16, 16]
        assert (shape[0] < 16) == (sample.metadata["slices"] == "thick")


def test_volumes__same_bytes_in_every_process():
    volumes = [sample.volume.read() for sample in phantom.list_samples(None, SMALL)]
    expected = hashlib.sha256(b"".join(part.tobytes() for volume in volumes for part in volume)).hexdigest()
    for threads, hash_seed in (("1", "0"), ("2", "7")):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
        process = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        assert process.stdout.strip() == expected


def test_volumes__do_not_depend_on_the_number_of_patients():
    larger = phantom.list_samples(None, phantom.Params(patients=20, size=16))
    for sample, other in zip(phantom.list_samples(None, SMALL), larger, strict=False):
        assert sample == other
        np.testing.assert_array_equal(sample.volume.read().image, other.volume.read().image)


def test_volumes__differ_between_patients_and_seeds():
    params = [SMALL, SMALL.model_copy(update={"seed": 2})]
    volumes = [sample.volume.read() for values in params for sample in phantom.list_samples(None, values)]
    assert len({volume.image.tobytes() for volume in volumes}) == 18


def test_read__can_be_pickled():
    read = phantom.list_samples(None, SMALL)[1].volume.read
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(read))().mask, read().mask)


@pytest.mark.parametrize("values", [{"patients": 2}, {"size": 15}, {"size": 257}, {"seed": -1}, {"organs": 1}])
def test_params__reject_invalid_values(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        phantom.Params(**values)
