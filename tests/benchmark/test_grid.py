"""Grid of benchmark.yaml: method names, invalid input and --only."""

import pytest

from medtune.benchmark.grid import METHODS, MethodSpec, TrialId, all_methods, filter_trials, load_grid, parse_method
from medtune.config import registry
from medtune.config.errors import InputError


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("linear", MethodSpec("frozen", "linear", "none")),
        ("cdtm", MethodSpec("frozen", "cdtm", "none")),
        ("full", MethodSpec("full", "mean_linear", "none")),
        ("lora", MethodSpec("full", "mean_linear", "lora")),
        ("cdtm+full", MethodSpec("staged", "cdtm", "none")),
        ("cdtm+lora", MethodSpec("staged", "cdtm", "lora")),
    ],
)
def test_parse_method__stages_head_and_method(method, expected):
    assert parse_method(method, "mean_linear") == expected


@pytest.mark.parametrize("method", ["lorra", "none", "full+lora", "cdtm+none", "cdtm+", "+lora", ""])
def test_parse_method__unknown_method_is_an_error(method):
    with pytest.raises(InputError, match=r"benchmark\.methods=.*: unknown method"):
        parse_method(method, "linear")


def test_all_methods__are_the_registry_and_the_baselines():
    methods = all_methods()
    assert len(methods) == len(set(methods))
    assert set(registry.plugin_names(METHODS)) - {"none"} < set(methods)
    assert {"linear", "full", "cdtm", "cdtm+full"} < set(methods)
    for method in methods:
        parse_method(method, "linear")


def test_load_grid__default_file_and_an_override():
    grid, tree = load_grid(sets=["benchmark.train_percent=[5]", "finetune.epochs=3"])
    assert grid.train_percent == [5]
    assert tree["finetune"]["epochs"] == 3
    assert "benchmark" not in tree


def test_load_grid__runner_depends_on_kind():
    grid, _ = load_grid(sets=["benchmark.runner.kind=dask", "benchmark.runner.address=tcp://host:8786"])
    assert grid.runner.kind == "dask"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("benchmark.train_percent=[0]", r"benchmark\.train_percent\.0=0: expected an integer from 1 to 100"),
        ("benchmark.seeds=[1, 1]", r"benchmark\.seeds=.*: contains 1 twice"),
        ("benchmark.metrics=auroc", r"benchmark\.metrics: unknown key \(did you mean 'metric'\?\)"),
        ("benchmark.metric=auc", r"benchmark\.metric=auc: unknown metric \(did you mean 'auroc'\?\)"),
        ("benchmark.head=liner", r"^benchmark\.head=liner: unknown \(did you mean 'linear'\?\)"),
        ("benchmark=3", r"^benchmark=3: expected a mapping"),
        ("benchmark.runner.kind=ray", r"benchmark\.runner.*local.*dask"),
        ("benchmark.runner={kind: dask, address: host}", r"benchmark\.runner\.address=host: expected"),
        ("benchmark.data={a b: {}}", r"benchmark\.data"),
        ("benchmark=null", r"no section benchmark"),
    ],
)
def test_load_grid__invalid_input_is_an_error(assignment, message):
    with pytest.raises(InputError, match=message):
        load_grid(sets=[assignment])


TRIALS = [TrialId("a", "vit", method, percent, 1) for method in ("lora", "full") for percent in (10, 100)]


def test_filter_trials__values_are_alternatives_and_fields_combine():
    assert filter_trials(TRIALS, []) == TRIALS
    assert [trial.method for trial in filter_trials(TRIALS, ["method=lora,full", "percent=10"])] == ["lora", "full"]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("method", r"expected FIELD=VALUE\. Choose FIELD from: data, backbone, method"),
        ("colour=red", r"Choose FIELD from"),
        ("method=lorra", r"no trial has method 'lorra' \(did you mean 'lora'\?\)"),
    ],
)
def test_filter_trials__invalid_filter_is_an_error(only, message):
    with pytest.raises(InputError, match=message):
        filter_trials(TRIALS, [only])
