import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.flows.retrain_steps import check_final


def test_check_final__rejects_a_refit_network():
    check_final(load(sets=["final=ensemble"]))
    with pytest.raises(InputError, match=r"final=refit: .* Use final=ensemble"):
        check_final(load(sets=["final=refit"]))
