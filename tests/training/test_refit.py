"""Settings of the refit: the median rate, epochs and strength of the folds."""

import statistics

from hypothesis import given
from hypothesis import strategies as st

from medtune.training.refit import RefitSettings, refit_settings

RATES = (1e-3, 1e-2, 1e-1)
fold = st.tuples(st.sampled_from(RATES), st.tuples(*[st.integers(0, 9) | st.none()] * 3)).filter(
    lambda values: values[1][RATES.index(values[0])] is not None
)


def result(chosen, epochs):
    trials = [
        {"lr": rate, "failure": "diverged"} if epoch is None else {"lr": rate, "epoch": epoch}
        for rate, epoch in zip(RATES, epochs, strict=True)
    ]
    return {"lr": chosen, "trials": trials}


@given(st.lists(fold, min_size=1, max_size=7))
def test_refit_settings__returns_a_selected_rate_and_the_epochs_at_that_rate(folds):
    refit = refit_settings([result(*values) for values in folds])
    chosen = sorted(rate for rate, _ in folds)
    assert refit.lr in chosen
    assert sum(rate < refit.lr for rate in chosen) <= len(chosen) / 2 >= sum(rate > refit.lr for rate in chosen)
    epochs = [
        epochs_by_rate[RATES.index(refit.lr)]
        for _, epochs_by_rate in folds
        if epochs_by_rate[RATES.index(refit.lr)] is not None
    ]
    assert refit.epochs == round(statistics.median(epochs))
    assert min(epochs) <= refit.epochs <= max(epochs)


def test_refit_settings__returns_the_strength_of_a_solved_head():
    refit = refit_settings([{"C": value, "lr": None, "trials": []} for value in (0.5, 8.0, 2.0, 2.0)])
    assert refit == RefitSettings(strength=2.0)
    assert refit.as_dict() == {"strength": 2.0}
