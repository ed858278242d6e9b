import pytest

from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.sources import phantom
from medtune.tasks.segmentation import targets


def test_check__images_are_refused():
    volumes = phantom.list_samples(None, phantom.Params(patients=3))
    targets.check(volumes)
    assert targets.encode(volumes[0], phantom.Params()) is None
    with pytest.raises(InputError, match=r"task\.kind=segmentation: a\.png is an image, not a volume with a mask"):
        targets.check([*volumes, Sample("a.png", "benign")])
