"""Warnings of an evaluation that apply to all tasks."""

from types import SimpleNamespace

import numpy as np
import pytest

from medtune.evaluation.facts import leak_warnings


def make_prepared(protocol="patient", leaked=(), n=12):
    info = {"protocol": protocol, "leaked_patients": list(leaked), "n_patients": n, "patients_known": True}
    return SimpleNamespace(info=info, patient_ids=np.arange(n))


def test_leak_warnings__empty_without_leakage():
    assert leak_warnings(make_prepared()) == []


@pytest.mark.parametrize(
    ("prepared", "message"),
    [
        (make_prepared("image", ["a", "b"]), "Leak: 2 of 12 patients"),
        (make_prepared("official", ["a"]), "Leak: 1 of 12 patients"),
        (make_prepared("image"), "splits images, not patients"),
        (make_prepared("hcrf-1-1-2"), "splits images, not patients"),
    ],
)
def test_leak_warnings__name_patients_and_protocol(prepared, message):
    (result,) = leak_warnings(prepared)
    assert message in result
