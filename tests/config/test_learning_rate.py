import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.models.heads import cdtm, linear
from medtune.models.peft import lora, none

HEAD, METHOD = "model.head.kind=linear", "model.peft.method=lora"


@pytest.mark.parametrize(
    ("sets", "frozen", "finetune"),
    [
        ([], linear.LR_GRID, lora.LR_GRID),
        (["model.peft.method=none"], linear.LR_GRID, none.LR_GRID),
        (["model.head.kind=cdtm"], cdtm.LR_GRID, lora.LR_GRID),
        (["frozen.lr=0.5", "finetune.lr=1e-4"], (0.5,), (1e-4,)),
        (["frozen.lr=[0.5, 0.1, 0.5]"], (0.1, 0.5), lora.LR_GRID),
        (["frozen.lr={linear: 0.5, cdtm: 0.1}"], (0.5,), lora.LR_GRID),
        (["frozen.lr={cdtm: 3.0e-4}", "finetune.lr={none: 3.0e-5}"], linear.LR_GRID, lora.LR_GRID),
        (["finetune.lr={lora: [1e-3, 1e-2]}"], linear.LR_GRID, (1e-3, 1e-2)),
        (["finetune.lr={lora: auto, none: 1}"], linear.LR_GRID, lora.LR_GRID),
    ],
)
def test_learning_rates__depend_on_head_and_method(sets, frozen, finetune):
    params = load(sets=[HEAD, METHOD, *sets])
    assert params.learning_rates("frozen") == tuple(frozen)
    assert params.learning_rates("finetune") == tuple(finetune)


@pytest.mark.parametrize(
    "value", ["0", "-1", ".inf", ".nan", "fast", "[]", "[0.1, 0]", "[[0.1]]", "{}", "{linear: 0}", "null", "true"]
)
@pytest.mark.parametrize("stage", ["frozen", "finetune"])
def test_lr__invalid_value_has_one_message(stage, value):
    with pytest.raises(InputError) as error:
        load(sets=[f"{stage}.lr={value}"])
    assert str(error.value).startswith(f"{stage}.lr")
    assert str(error.value).count(f"{stage}.lr") == 1


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("frozen.lr={lora: 0.1}", "unknown head"),
        ("frozen.lr={linaer: 0.1}", "did you mean 'linear'"),
        ("finetune.lr={linear: 0.1}", "unknown PEFT method"),
        ("finetune.lr={full: 0.1}", "unknown PEFT method"),
    ],
)
def test_lr__mapping_names_heads_or_methods(assignment, message):
    with pytest.raises(InputError, match=message):
        load(sets=[assignment])
