import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.splits import split_samples


def site_params(folds: int = 3, **options) -> SplitParams:
    return SplitParams(protocol="site", folds=folds, allow_missing_classes=True, **options)


def samples(sites, known=True) -> list[Sample]:
    """Create two images per patient, six or more patients per site, and both classes at every site."""
    return [
        Sample(f"{site}/{p}-{n}", "ab"[p % 2], f"{site}{p}" if known else None, site=site)
        for site, patients in sites.items()
        for p in range(patients)
        for n in range(2)
    ]


SITES = st.dictionaries(st.sampled_from("ABCDEF"), st.integers(6, 9), min_size=2, max_size=6)


@given(SITES, st.booleans())
def test_split_samples__every_site_is_the_test_split_of_one_fold(sites, known):
    listed = samples(sites, known)
    assignment = split_samples(listed, ("a", "b"), site_params(len(sites), test_fold="all"), "folder")
    assert assignment.sites == tuple(sorted(sites))
    site_of_image = np.array([sample.site for sample in listed])
    for fold, site in enumerate(assignment.sites):
        column = assignment.splits[:, fold]
        assert np.array_equal(column == "test", site_of_image == site)
        assert set(column) == {"train", "val", "test"}
        if known:
            patients_of = [
                {sample.patient_id for sample, split in zip(listed, column, strict=True) if split == name}
                for name in set(column)
            ]
            assert sum(map(len, patients_of)) == len(set.union(*patients_of))
    assert np.array_equal(np.array(assignment.sites)[assignment.folds], site_of_image)


def test_split_samples__selected_site_is_test_fold_0():
    params = site_params(test_fold="C")
    assignment = split_samples(samples({"A": 6, "B": 6, "C": 6}), ("a", "b"), params, "folder")
    assert params.test_folds == [0]
    assert assignment.sites == ("C", "A", "B")
    assert "test folds are 0 C, 1 A, 2 B" in assignment.notes[0]


MOVED = Sample("B/moved", "a", "A0", site="B", where="t.csv line 9")


@pytest.mark.parametrize(
    ("listed", "options", "message"),
    [
        (samples({"A": 6}), {"folds": 2}, r"only one site \(A 12\), but at least two are needed"),
        (samples({"A": 6, "B": 6}), {"folds": 5}, r"folds=5: the table has 2 sites \(A 12, B 12\).*folds=2"),
        ([*samples({"A": 6, "B": 6}), MOVED], {"folds": 2}, r"patient A0 is at A \(A/0-0\) and B \(t.csv line 9\)"),
        (samples({"A": 6, "a ": 6}), {"folds": 2}, "sites 'A' and 'a ' differ only in case"),
        (samples({"A": 6, "N/A": 6}), {"folds": 2}, "12 images without a site, for example N/A/0-0"),
        (samples({"A": 6, "B": 6}), {"folds": 2, "test_fold": "b"}, "test_fold=b: no such site.*Sites: A 12, B 12"),
        ([Sample("x", "a", "P"), Sample("y", "b", "Q")], {}, r"data \(data\.source=folder\) have no sites"),
    ],
)  # fmt: skip
def test_split_samples__rejects_invalid_sites(listed, options, message):
    with pytest.raises(InputError, match=message) as error:
        split_samples(listed, ("a", "b"), site_params(**options), "folder")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol": "patient", "test_fold": "A"}, "Only protocol site accepts names"),
        ({"protocol": "patient", "folds": 2}, "expected an integer from 3 to 20"),
        ({"protocol": "site", "val_fold": 2}, "Use val_fold=null"),
        (
            {"protocol": "site", "folds": 2, "test_fold": 2},
            "folds are numbered 0 to 1. If a site has this name, put it in quotes",
        ),
    ],
)
def test_params__rejects_invalid_values(values, message):
    with pytest.raises(ValidationError, match=message):
        SplitParams(**values)


def test_split_samples__number_of_a_fold_and_name_of_a_site_is_ambiguous():
    listed = samples({"1": 6, "2": 6, "3": 6})
    with pytest.raises(
        InputError, match=r"test_fold=2: 2 is both the number of a fold \(site 3\) and the name of a site"
    ):
        split_samples(listed, ("a", "b"), site_params(test_fold=2), "folder")
    assert split_samples(listed, ("a", "b"), site_params(test_fold="2"), "folder").sites == ("2", "1", "3")
    assert split_samples(listed, ("a", "b"), site_params(test_fold=0), "folder").sites == ("1", "2", "3")
