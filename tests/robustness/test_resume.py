"""Training that is killed at an exact step and resumed: equal to the uninterrupted run in every bit."""

import os
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest

from tests.robustness import job
from tests.robustness.faults import Faults
from tests.robustness.isolated import disable, isolated
from tests.robustness.kills.forked import fork, prepare_forks
from tests.robustness.kills.training_events import report_training
from tests.robustness.profile import scale

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults(
        row=2,
        title="training is killed at the end of an epoch, within an epoch, in the warm-up or between stages, and "
        "then resumed",
        target="Weights, optimizer, random states and order of samples are bit-identical to those of an undisturbed "
        "run",
    ),
]
VIT, CNN = "test_vit", "test_efficientnet"
EPOCHS, STEPS = 3, 4  # steps per epoch; the first epoch is the warm-up
# Number of finished steps and moment, see `training_events.Interruption`. After a step, that step is not saved yet.
IN_STAGE = {
    "in the warm-up": (2, "before"),
    "in the warm-up, unsaved": (1, "after"),
    "at the end of an epoch": (STEPS, "before"),
    "at the end of an epoch, not validated": (STEPS - 1, "after"),
    "within an epoch": (STEPS + 2, "before"),
    "within an epoch, unsaved": (STEPS + 2, "after"),
    "at the end of the last epoch, not published": (EPOCHS * STEPS, "end"),
}
BETWEEN_STAGES = {"between the stages": (0, "between"), "at the start of stage 2": (0, "start")}
PEFT = {
    "none": {"method": "none"},
    "lora": {"method": "lora", "dropout": 0.1},
    "ssf": {"method": "ssf"},
    "bitfit": {"method": "bitfit"},
}
SMALL = [
    (VIT, "lora", ["within an epoch, unsaved"]),
    (CNN, "none", ["at the end of an epoch"]),
    (VIT, "stage 1", ["at the end of the last epoch, not published"]),
]
FULL = [
    *((backbone, method, [*IN_STAGE, *BETWEEN_STAGES]) for backbone in (VIT, CNN) for method in PEFT),
    *((backbone, training, list(IN_STAGE)) for backbone in (VIT, CNN) for training in ("stage 1", "stage 1, online")),
]


@pytest.mark.parametrize(("backbone", "training", "moments"), scale(small=SMALL, full=FULL))
def test_training__resumes_bit_identically(faults, tmp_path, backbone, training, moments):
    faults.add(isolated(interrupt, tmp_path, backbone, training, moments))


@pytest.mark.parametrize(
    ("module", "function", "case", "problem"),
    [
        ("torch", "set_rng_state", SMALL[0], "step 7 has another loss"),
        ("medtune.training.checkpoint", "load_optimizer", SMALL[1], "step 6 has another loss"),
        ("medtune.training.trainer_state", "load_trainer", SMALL[2], "resumed at {'frozen': 0}"),
    ],
)
def test_training__a_state_that_is_not_restored_is_noticed(tmp_path, module, function, case, problem):
    (lost,) = isolated(interrupt, tmp_path, *case, (module, function)).lost
    assert problem in lost


def interrupt(folder, backbone, training, moments, disabled=None):
    """Compare a run that is killed and resumed with the uninterrupted one, for each of `moments`."""
    if disabled:
        disable(*disabled)
    prepare_forks()
    faults, params = Faults(), small_params(backbone, training)
    stage = "finetune" if training in PEFT else "frozen"
    data = job.prepare(folder / "data", params)

    def run(name, interruption=None):
        paths = replace(data, out=folder / name)
        if not paths.prepared.exists():
            shutil.copytree(data.prepared, paths.prepared)
        log = folder / f"{name}{'-killed' if interruption else ''}.log"
        return fork(partial(train, params, paths, stage, interruption), log)

    uninterrupted = run("uninterrupted")
    assert uninterrupted.exit_code == 0, uninterrupted.end()
    for number, name in enumerate(moments):
        step, moment = {**IN_STAGE, **BETWEEN_STAGES}[name]
        killed, resumed = run(f"run-{number}", (stage, step, moment)), run(f"run-{number}")
        problem = difference(uninterrupted, killed, resumed, {stage: step})
        faults.count(f"{backbone}, {training}, killed {name}", problem)
    return faults


def small_params(backbone, training):
    """Return params with a checkpoint after every step and random numbers in the layers."""
    args = {"img_size": 32, "proj_drop_rate": 0.1} if backbone == VIT else {}
    common = {"epochs": EPOCHS, "warmup_epochs": 1}
    overlay = {
        "model": {"backbone": backbone, "backbone_args": {**args, "drop_path_rate": 0.2}},
        "frozen": {**common, "feature_views": "online" if training.endswith("online") else 2},
        "finetune": {**common, "channels_last": (backbone, training) == (CNN, "none")},
    }
    if training in PEFT:
        overlay["model"] |= {"peft": PEFT[training], "batchnorm": "train"}
    return job.params(overlay)


def train(params, paths, last_stage, interruption, report):
    from medtune.stages import finetune, frozen

    os.environ["MEDTUNE_DEVICE"] = "cpu"
    report_training(report, interruption)
    report("published", sha256=frozen.run(params, paths, 1).sha256)
    if last_stage == "finetune":
        if interruption == ("finetune", 0, "between"):
            os.kill(os.getpid(), signal.SIGKILL)
        report("published", sha256=finetune.run(params, paths, 1).sha256)


def difference(uninterrupted, killed, resumed, expected_starts):
    """Return the first difference between the two halves of a run and the uninterrupted run, or None."""
    if not killed.was_killed or resumed.exit_code != 0:
        return f"the first run {killed.end()}; the second {resumed.end()}"
    starts = {event["name"].split()[0]: event["step"] for event in resumed.select("training starts")}
    if starts != expected_starts:
        return f"resumed at {starts}, expected {expected_starts}"
    expected = {(event["name"], event["step"]): event for event in uninterrupted.select("step")}
    events = [*killed.events, *resumed.events]
    steps = [event for event in events if event["kind"] == "step"]
    if {(event["name"], event["step"]) for event in steps} != expected.keys():
        return f"the run has other steps than the {len(expected)} of the uninterrupted run"
    for event in steps:
        for value in ("rows", "loss"):
            if event[value] != expected[event["name"], event["step"]][value]:
                return f"{event['name']}: step {event['step']} has another {value}"
    ends = {event["name"]: event["state"] for event in events if event["kind"] == "training ends"}
    for event in uninterrupted.select("training ends"):
        if different := dict(event["state"].items() - ends[event["name"]].items()):
            return f"{event['name']}: {', '.join(different)} differ"
    digests = [[event["sha256"] for event in run.select("published")] for run in (uninterrupted, resumed)]
    return None if digests[0] == digests[1] else "the published artifacts differ"
