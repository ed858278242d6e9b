"""Repeated runs after changes of the checkout: only steps whose result can change run again.

DVC repeats the command of a stage after each change of its source files. The command then finds its steps in the
cache. So a step counts as executed if the flow reports it as running, and the data stage if it decodes images.
"""

import re
import shutil
from contextlib import contextmanager

import pytest

from benchmarks.checkout import Checkout, copied_checkout
from medtune.flows import pipeline
from medtune.runtime import cache_key
from medtune.runtime.artifact import file_sha256
from tests.robustness import job
from tests.robustness.faults import Faults
from tests.robustness.profile import is_full

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults(
        row=14,
        title="a run is repeated after a change",
        target="After an irrelevant change, no step runs, and all outputs stay the same. After a relevant change, "
        "exactly the affected steps run",
    ),
]
SETS = (
    "schedule=staged", "data.image_size=32", "data.patients=12", "data.images_per_patient=4", "data.split.folds=3",
    "data.split.test_fold=1", "model.backbone_args={img_size: 32}", "model.head={kind: cdtm, centers: 4}",
    "frozen.epochs=1", "frozen.feature_views=1", "finetune.epochs=1", "export.precisions=[fp32]",
    "export.parity_images=16", "tracking.mode=disabled",
)  # fmt: skip
SMALL = {
    "model": {"weights": "none", "backbone_args": {"img_size": 32, "depth": 1}},
    "frozen": {"epochs": 1, "feature_views": 1},
    "finetune": {"epochs": 1},
}
NO_EFFECT = {
    "frozen": {"checkpoint_seconds": 9},
    "tracking": {"project": "other"},
    "gate": {"max_confidence_gap": 0.5},
}
ALL = "data frozen finetune evaluate export"
TRAINING = "frozen finetune evaluate export"
DVC = "dvc repro"
FLOW = "python -m medtune train"
SET = "python -m medtune params set"
OTHER_MACHINE = "PYTHONHASHSEED=7 TZ=Pacific/Chatham LC_ALL=C OMP_NUM_THREADS=2 COLUMNS=40"
TOUCH = "find . -path ./.git -prune -o -path ./.dvc -prune -o -type f -exec touch -d @1700000000 {} +"
REVERSE_SECTIONS = r"""python -c 'import re, pathlib
path = pathlib.Path("params.yaml")
path.write_text("\n".join(reversed(re.split(r"(?m)^(?=\w+:)", path.read_text()))))'"""


def comment(*names):
    """Return the command that extends the docstring of source files and appends a comment."""
    return f"""sed -i -e '0,/\"\"\"/s//\"\"\"Longer: /' -e '$a # A comment.' {" ".join(names)}"""


def statement(*names):
    """Return the command that appends a statement to source files."""
    return f"sed -i '$a UNUSED = 1' {' '.join(names)}"


def flip_bit(name):
    """Return the command that flips one bit of a file, which may be a link to DVC's cache."""
    return f"""python -c 'import pathlib
path = pathlib.Path("{name}")
content = bytearray(path.read_bytes())
content[len(content) // 2] ^= 1
path.unlink()
path.write_bytes(content)'"""


# Shell command that changes the checkout, shell command that runs the pipeline, and the stages that must run.
CHANGES = {
    "nothing": ("", DVC, ""),
    "nothing, the flow": ("", FLOW, ""),
    "nothing, the flow without Prefect": ("", f"{FLOW} --no-prefect", ""),
    "nothing, the data stage": ("", "python -m medtune data", ""),
    "modification times": (TOUCH, DVC, ""),
    "hash seed, time zone, locale and threads": ("", f"{OTHER_MACHINE} {DVC}", ""),
    "hash seed, time zone, locale and threads, the flow": ("", f"{OTHER_MACHINE} {FLOW} --no-prefect", ""),
    "umask": ("umask 077", DVC, ""),
    "comments in training code": (comment("stages/frozen.py", "models/cdtm.py", "medtune/training/loop.py"), DVC, ""),
    "comments in evaluation": (
        comment("medtune/tasks/classification/metrics/__init__.py", "stages/export.py"),
        DVC,
        "",
    ),
    "code of unused models": (statement("models/heads/linear.py", "models/peft/lora.py"), DVC, ""),
    "code of tracking": (statement("medtune/tracking/run.py"), DVC, ""),
    "order of params.yaml": (REVERSE_SECTIONS, DVC, ""),
    "gate": (f"{SET} gate.max_confidence_gap=0.3", DVC, ""),
    "W&B project": (f"{SET} tracking.project=other", DVC, ""),
    "fewer checkpoints": (f"{SET} finetune.checkpoint_seconds=77", DVC, ""),
    "prepared data deleted": ("rm -r data/prepared", DVC, ""),
    "outputs restored by DVC": ("rm -r artifacts data/prepared && dvc checkout", DVC, ""),
    "Prefect database deleted": ("rm -r .cache/prefect", FLOW, ""),
    "cache deleted": ("rm -r .cache", DVC, ""),
    "evaluate.calibration": (f"{SET} evaluate.calibration=none", DVC, "evaluate export"),
    "finetune.lr": (f"{SET} finetune.lr=4.0e-5", DVC, "finetune evaluate export"),
    "frozen.lr": (f"{SET} frozen.lr=4.0e-4", DVC, TRAINING),
    "seed": (f"{SET} seed=2", DVC, TRAINING),
    "data.split.test_fold": (f"{SET} data.split.test_fold=2", DVC, "data evaluate export"),
    "code of the head": (statement("models/heads/cdtm.py"), DVC, TRAINING),
    "code of evaluation": (statement("medtune/tasks/classification/calibration.py"), DVC, "evaluate export"),
    # DVC deletes the prepared data before it repeats the command. The result is the same.
    "code of logging": (statement("medtune/runtime/logfile.py"), DVC, "data"),
    "comments in code that reads images": (comment("medtune/data/packing.py", "stages/data.py"), DVC, "data"),
    "a bit of the weights of stage 1": (flip_bit("artifacts/frozen/fold-1/model.safetensors"), FLOW, "frozen"),
    "a bit of the exported model": (flip_bit("artifacts/export/model.onnx"), FLOW, "export"),
    "evaluation deleted": ("rm -r artifacts/evaluate", FLOW, "evaluate"),
}


@pytest.fixture(scope="module")
def checkout():
    with copied_checkout(SETS) as checkout:
        printed, _ = checkout.run("dvc", "repro")
        assert executed(printed) == ALL
        yield checkout


@pytest.mark.skipif(not is_full(), reason="make torture only")
@pytest.mark.parametrize("name", CHANGES)
def test_checkout__only_affected_steps_run(faults, checkout, name):
    change, command, expected = CHANGES[name]
    with restored(checkout.folder):
        before = hashes(checkout.folder)
        command = f"{change} && {command}" if change else command
        faults.count(name, problem(faults, checkout, command, expected, before))


@pytest.mark.skipif(not is_full(), reason="make torture only")
def test_checkout__another_path(faults, checkout):
    moved, before = Checkout(checkout.folder.with_name("moved")), hashes(checkout.folder)
    shutil.copytree(checkout.folder, moved.folder, symlinks=True)
    problems = [problem(faults, moved, command, "", before) for command in (DVC, f"{FLOW} --no-prefect")]
    faults.count("the checkout at another path", next(filter(None, problems), None))


def test_stages__nothing_runs_again(faults, tmp_path, monkeypatch):
    repeat_stages(faults, tmp_path, monkeypatch)


@pytest.mark.nightly
def test_stages__an_unnecessary_step_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_key, "EXCLUDED_KEYS", set())
    faults = Faults()
    repeat_stages(faults, tmp_path, monkeypatch)
    (lost,) = faults.lost
    assert lost.startswith("params without effect: executed frozen fold 0, finetune fold 0")


def test_executed():
    printed = (
        "data: 48 images (glands 12), 12 patients, split by patient\n"
        "frozen fold 1: cached (key 0a1b2c)\nfinetune fold 1: running (key 0a1b2c)\n"
        "evaluate: running (key 0a1b2c)\ndata: nothing changed; 48 images are ready\n"
    )
    assert executed(printed) == "data finetune evaluate"


def problem(faults, checkout, command, expected, before):
    """Run a command; return a message unless it executed exactly the expected steps."""
    printed, _, code = checkout.run_unchecked("sh", "-c", command)
    steps = executed(printed)
    if not expected:
        faults.measure("number of steps executed without need", len(steps.split()))
    if code:
        return f"exit code {code}: {printed[-500:]}"
    if steps != expected:
        return f"executed {steps or 'nothing'}, expected {expected or 'nothing'}"
    return None if expected or hashes(checkout.folder) == before else "outputs changed"


def repeat_stages(faults, folder, monkeypatch):
    """Run all stages, then again with the same params and with others that have no effect."""
    chosen = job.params(SMALL)
    paths = job.prepare(folder, chosen)
    job.train(chosen, paths)
    before, run_stage, steps = hashes(folder), pipeline.run_stage, []
    monkeypatch.setattr(pipeline, "run_stage", lambda step, *args: steps.append(step.name) or run_stage(step, *args))
    for name, repeated in (("the same params", chosen), ("params without effect", job.params(SMALL, NO_EFFECT))):
        job.prepare(folder, repeated)
        job.train(repeated, paths)
        changed = None if hashes(folder) == before else "outputs changed"
        faults.count(name, f"executed {', '.join(steps)}" if steps else changed)


def executed(printed):
    """Return the stages of which at least one step ran, in order."""
    data, others = r"^(data): [\d,]+ images \(", r"^(frozen|finetune|evaluate|export)\b.*: running \(key "
    return " ".join(dict.fromkeys(match[1] or match[2] for match in re.finditer(f"(?m){data}|{others}", printed)))


def hashes(folder):
    """Return the SHA-256 of every output file by name."""
    outputs = [folder / "data" / "prepared", folder / "artifacts"]
    paths = [path for output in outputs for path in output.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}


@contextmanager
def restored(folder):
    """Restore a folder at the end of the block."""
    saved = folder.with_name("saved")
    shutil.copytree(folder, saved, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        saved.rename(folder)
