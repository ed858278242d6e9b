import pytest

from medtune.config.errors import InputError
from medtune.config.load import load

VALID = ["data.source=slides", "schedule=frozen", "model.head.kind=attention_mil"]


def test_check_head__accepts_stored_slide_features():
    params = load(None, VALID)
    assert params.model.head.aggregation == "attention"
    assert load(None, ["model.head.kind=linear"]).model.head.aggregation == "mean"


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["schedule=staged"], r"schedule=staged: head attention_mil .* Use schedule=frozen"),
        (["schedule=full"], r"schedule=full: head attention_mil"),
        (["frozen.feature_views=online"], r"frozen\.feature_views=online: head attention_mil needs stored features"),
        (["data.source=folder", "data.root=x"], r"model\.head\.kind=attention_mil: the head weights the tiles"),
    ],
)
def test_check_head__rejects_other_combinations(sets, message):
    with pytest.raises(InputError, match=message) as error:
        load(None, [*VALID, *sets])
    assert "\n" not in str(error.value)
