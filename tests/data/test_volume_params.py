import pytest
from pydantic import ValidationError

from medtune.data.sources import decathlon, nnunet, phantom, synthetic, volumes


def test_params__only_those_of_volumes_have_volumes():
    assert all(source.Params().has_volumes for source in (decathlon, nnunet, phantom, volumes))
    assert not synthetic.Params().has_volumes


@pytest.mark.parametrize(("pattern", "problem"), [("(", "not a regular expression"), ("P[0-9]+", "it has no group")])
def test_params__pattern_must_have_one_group(pattern, problem):
    with pytest.raises(ValidationError, match=problem):
        nnunet.Params(patient_pattern=pattern)
