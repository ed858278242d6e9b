from pathlib import Path

from medtune.config.schema import Params
from medtune.evaluation.intervals import Interval
from medtune.evaluation.subgroup_metrics import Gap, Subgroup, Subgroups
from medtune.tracking.metrics import flatten_metrics, log_evaluation
from medtune.tracking.run import start_run
from tests.tracking.test_run import recorded

INTERVAL = Interval(0.8, 0.7, 0.9)
METRICS = {
    "test": {"auroc": INTERVAL.as_dict()},
    "validation": {},
    "folds": [{"fold": 1, "test": {}, "validation": {}, "kept": "frozen"}],
}


def test_log_evaluation__subgroups_are_a_table(cache: Path, params: Params) -> None:
    subgroups = tuple(Subgroup(value, 9, 6, {}, {"auroc": INTERVAL}) for value in ("F", "M"))
    document = Subgroups("sex", subgroups, (Gap("auroc", "F", "M", INTERVAL),)).as_dict()
    with start_run("evaluate", "0" * 64, "group", params, "evaluate") as run:
        log_evaluation(run, {**METRICS, "subgroups": [document]}, [])
    names = {name for row in recorded(cache).history for name in row}
    assert {"test/metrics", "test/subgroups"} <= names


def test_log_evaluation__no_table_without_subgroups(cache: Path, params: Params) -> None:
    with start_run("evaluate", "1" * 64, "group", params, "evaluate") as run:
        log_evaluation(run, METRICS, [])
    names = {name for row in recorded(cache).history for name in row}
    assert "test/metrics" in names
    assert "test/subgroups" not in names


def test_flatten_metrics__includes_patient_metrics_and_prediction_sets() -> None:
    entry = {"value": 0.8, "lo": 0.7, "hi": 0.9}
    result = flatten_metrics(
        METRICS
        | {
            "patient_level": {"score": "mean", "metrics": {"auroc": entry}},
            "prediction_sets": {"calibration": {}, "coverage": entry, "n_empty": 2},
        }
    )
    assert (result["patients/auroc"], result["patients/auroc_lo"], result["patients/auroc_hi"]) == (0.8, 0.7, 0.9)
    assert result["sets/coverage_lo"] == 0.7
    without_values = flatten_metrics(METRICS | {"patient_level": {"reason": "x"}, "prediction_sets": {"reason": "x"}})
    assert not any(name.startswith(("patients/", "sets/")) for name in without_values)


def test_log_evaluation__controls_are_values_and_a_table(cache: Path, params: Params) -> None:
    entry = INTERVAL.as_dict()
    trained = {"name": "scratch", "title": "random", "trained": True, "sentence": "Nothing", "test": {"dice": entry},
               "difference": {"dice": {"value": 0.1, "lo": -0.1, "hi": 0.3}}}  # fmt: skip
    metrics = {**METRICS, "controls": [trained, {"name": "decoder_only", "trained": False, "absence": "off"}]}
    values = flatten_metrics(metrics)
    assert (values["control/scratch/dice"], values["control/scratch/difference/dice_lo"]) == (0.8, -0.1)
    assert not any("decoder_only" in name for name in values)
    with start_run("evaluate", "3" * 64, "group", params, "evaluate", tags=("control", "scratch")) as run:
        log_evaluation(run, metrics, [])
    assert "test/controls" in {name for row in recorded(cache).history for name in row}


def test_log_evaluation__more_patients_are_a_table(cache: Path, params: Params) -> None:
    rows = [{"class": "a", "patients": 1, "reason": "few"}, {"class": "b", "patients": 9, "more_patients": 20}]
    with start_run("evaluate", "2" * 64, "group", params, "evaluate") as run:
        log_evaluation(run, {**METRICS, "more_patients": {"classes": rows}}, [])
    assert "test/more_patients" in {name for row in recorded(cache).history for name in row}
