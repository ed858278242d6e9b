"""SIGKILL at any moment of every stage and within its saves. The next run resumes and the result is the same."""

import json

import pytest

from tests.robustness import job
from tests.robustness.isolated import disable, isolated
from tests.robustness.kills.command import kill_command
from tests.robustness.kills.file_events import Moment
from tests.robustness.kills.prediction import KilledPrediction
from tests.robustness.kills.stage import KilledStage
from tests.robustness.profile import is_full, scale

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.faults(
        row=1,
        title="a process is killed (SIGKILL) at a random time or at a random file operation",
        target="Every run can be resumed. Every file can be read. At most the work since the last checkpoint is "
        "lost. No unfinished files remain",
    ),
]
# A checkpoint after every step, except for `seldom`.
LONGER = {"frozen": {"epochs": 6}, "finetune": {"epochs": 6}}
VARIANTS = {
    "stored": {},
    "online": {"frozen": {"feature_views": "online"}},
    "lora": {"model": {"peft": {"method": "lora"}}},
    "seldom": {"frozen": {"checkpoint_seconds": 0.1}, "finetune": {"checkpoint_seconds": 0.1}},
}
# Stages of a segmentation, with a small network that reads slices, and one that reads volumes.
SLICES = {"backbone_args": {"depth": 4}, "head": {"width": 4}}
VOLUMES = {
    "volumes": {"model": SLICES},
    "volumes online": {"model": SLICES, "frozen": {"feature_views": "online"}},
    "volumes unet": {"model": {"backbone": "unet", "backbone_args": {"channels": [4, 8], "strides": [2]}}},
}
# Another value for each stage.
OTHER = {
    "data": {"data": {"patients": 14}},
    "frozen": {"frozen": {"lr": 1e-3}},
    "finetune": {"finetune": {"lr": 1e-3}},
    "evaluate": {"evaluate": {"reliability_bins": 14}},
    "export": {"export": {"parity_images": 15}},
}
OTHER_VOLUMES = {**OTHER, "data": {"data": {"patients": 12}}, "evaluate": {"task": {"tolerance_mm": 2.0}}}
# Stage, variant, number of kills at file operations and at random times.
SMALL = [("frozen", "stored", 3, 1)]
FULL = [
    ("data", "stored", 20, 10), ("frozen", "stored", 24, 12), ("frozen", "online", 16, 8), ("frozen", "seldom", 4, 10),
    ("finetune", "stored", 20, 12), ("finetune", "lora", 12, 8), ("finetune", "seldom", 4, 10),
    ("evaluate", "stored", 24, 10), ("export", "stored", 12, 8),
    ("data", "volumes", 16, 8), ("frozen", "volumes", 24, 10), ("frozen", "volumes online", 8, 4),
    ("frozen", "volumes unet", 8, 4), ("finetune", "volumes", 16, 8), ("finetune", "volumes unet", 8, 4),
    ("evaluate", "volumes", 24, 10), ("export", "volumes", 12, 8),
]  # fmt: skip
# Steps of `medtune train`, for images and for volumes with controls.
COMMANDS = {
    "images": (job.TREE, {}, ("frozen fold 0", "finetune fold 0", "frozen fold 1", "finetune fold 1")),
    "volumes": (
        job.VOLUMES,
        {"task": {"controls": ["decoder_only"]}},
        ("finetune fold 1", "control decoder_only frozen fold 1", "control decoder_only frozen fold 2"),
    ),
}
CHECKPOINT = Moment(
    "os.rename", "out/artifacts/frozen/.fold-1.training/.checkpoint.safetensors.tmp", 3, None, is_retried=False
)
PUBLICATION = Moment("os.rename", "out/artifacts/frozen/.fold-1.partial", 1, None, is_retried=False)


@pytest.mark.parametrize(("stage", "variant", "n_operations", "n_times"), scale(small=SMALL, full=FULL))
def test_stage__resumes_after_each_kill(faults, tmp_path, stage, variant, n_operations, n_times):
    faults.add(isolated(prepare(tmp_path, stage, variant, with_flow=is_full()).kill, n_operations, n_times))
    assert faults.measured["number of kills inside a save"] >= 1


@pytest.mark.parametrize(("n_operations", "n_times"), scale(small=[(8, 1)], full=[(80, 20)]))
def test_predict_command__a_killed_run_leaves_complete_label_maps(faults, tmp_path, n_operations, n_times):
    faults.add(isolated(KilledPrediction(tmp_path).kill, n_operations, n_times))
    assert faults.measured["number of kills inside a save"] >= 1


@pytest.mark.skipif(not is_full(), reason="takes minutes; part of make torture")
@pytest.mark.parametrize("kind", COMMANDS)
def test_train_command__resumes_after_each_kill(faults, tmp_path, kind):
    base, settings, steps = COMMANDS[kind]
    params = job.params(LONGER, settings, {"tracking": {"mode": "offline"}}, base=base)
    faults.add(isolated(kill_command, tmp_path, params, steps))


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("module", "function", "moment", "problem"),
    [
        ("medtune.training.trainer_state", "load_trainer", CHECKPOINT, "resumed at step 0, but step"),
        ("medtune.runtime.artifact", "recover_interrupted_publish", PUBLICATION, "left behind"),
    ],
)
def test_stage__a_loss_is_noticed(tmp_path, module, function, moment, problem):
    (lost,) = isolated(kill_unprotected, prepare(tmp_path, "frozen", "online"), module, function, moment).lost
    assert problem in lost


def kill_unprotected(stage, module, function, moment):
    disable(module, function)
    stage.run_uninterrupted()
    return stage.kill_at([moment])


def prepare(folder, stage, variant, with_flow=False):
    of_volumes = variant in VOLUMES
    base, variants, other = (job.VOLUMES, VOLUMES, OTHER_VOLUMES) if of_volumes else (job.TREE, VARIANTS, OTHER)
    longer = {} if of_volumes else LONGER
    for name, overlay in (("params", {}), ("other", other[stage])):
        params = job.params(longer, variants[variant], overlay, base=base)
        (folder / f"{name}.yaml").write_text(json.dumps(params.model_dump(mode="json")))
    return KilledStage(folder, stage, with_flow)
