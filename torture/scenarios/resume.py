"""Runs cut by SIGKILL at an exact step and resumed, against the uncut run: equal in every bit."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

from medtune.config.schema import Params
from medtune.runtime.paths import RunPaths
from torture.kills.forked import Ended, Tell, fork, import_all
from torture.kills.trained import Cut, steps_of, tell_training
from torture.outcome import Outcome

NUMBER = 2
TITLE = "training cut at epoch end, mid-epoch, in the warm-up and between stages, then resumed"
TARGET = "weights, optimizer, random states, order of samples bit-identical to the uncut run"

BACKBONES = ("test_vit", "test_efficientnet")
METHODS = ("none", "lora", "ssf", "bitfit")
EPOCHS, STEPS = 3, 4  # steps of an epoch; the first epoch is the warm-up
# Steps done, and whether the process falls before the next step (all of it saved) or at its end (that step is lost).
CUTS = {
    "in the warm-up": (2, "before"),
    "in the warm-up, unsaved": (1, "after"),
    "at an epoch's end": (STEPS, "before"),
    "at an epoch's end, unscored": (STEPS - 1, "after"),
    "mid-epoch": (STEPS + 2, "before"),
    "mid-epoch, unsaved": (STEPS + 2, "after"),
    "at the last epoch's end, unpublished": (EPOCHS * STEPS, "end"),
}
BETWEEN = {"between stages": (0, "published"), "between stages, network built": (0, "begin")}


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Backbones and methods of stage 2; stage 1 with stored features and with images."""
    if not full:
        return {
            "lora": {"backbone": BACKBONES[0], "methods": ["lora"], "cuts": ["mid-epoch, unsaved"]},
            "whole": {"backbone": BACKBONES[1], "methods": ["none"], "cuts": ["at an epoch's end"]},
            "frozen": {
                "backbone": BACKBONES[0],
                "views": [2],
                "cuts": ["at the last epoch's end, unpublished"],
            },
        }
    found: dict[str, dict[str, Any]] = {}
    for backbone in BACKBONES:
        for methods in (METHODS[:2], METHODS[2:]):
            found[f"{backbone}-{'-'.join(methods)}"] = {"backbone": backbone, "methods": list(methods)}
        found[f"{backbone}-frozen"] = {"backbone": backbone, "views": [2, "online"]}
    return found


def inject(
    folder: Path,
    backbone: str,
    methods: list[str] | None = None,
    views: list[int | str] | None = None,
    cuts: list[str] | None = None,
) -> Outcome:
    """Every cut of stage 2 under each of `methods`, and of stage 1 under each of `views`."""
    from torture.job import prepare

    import_all()
    outcome = Outcome()
    prepared = prepare(folder / "data", params_of(backbone)).prepared
    for method in methods or []:
        named = f"{backbone}, {method}"
        innermost = (backbone, method) == (BACKBONES[1], "none")
        model = {"peft": _peft(method), "batchnorm": "train"}
        chosen = params_of(backbone, model=model, finetune={"channels_last": innermost})
        _try_all(outcome, folder / method, prepared, chosen, "finetune", named, cuts or [*CUTS, *BETWEEN])
    for view in views or []:
        named = f"{backbone}, stage 1, views {view}"
        chosen = params_of(backbone, frozen={"feature_views": view})
        _try_all(outcome, folder / f"views-{view}", prepared, chosen, "frozen", named, cuts or list(CUTS))
    return outcome


def params_of(backbone: str, **sections: dict[str, Any]) -> Params:
    """Three epochs of four steps in either stage, a checkpoint at each; stage 2 draws random numbers in its layers."""
    from torture import job

    common = {"epochs": EPOCHS, "warmup_epochs": 1}
    args = {"img_size": 32, "proj_drop_rate": 0.1} if backbone == "test_vit" else {}
    model = {"backbone": backbone, "backbone_args": {**args, "drop_path_rate": 0.2}}
    return job.params({"model": model, "frozen": common, "finetune": common}, sections)


def _peft(method: str) -> dict[str, Any]:
    return {"method": method, "dropout": 0.1} if method == "lora" else {"method": method}


def _try_all(
    outcome: Outcome, folder: Path, prepared: Path, params: Params, stage: str, named: str, cuts: list[str]
) -> None:
    """One uncut run, then for each cut a run that falls there and one that goes on from it."""
    cache = folder / "cache"

    def run(out: str, where: Cut | None = None) -> Ended:
        paths = RunPaths(folder / out, cache)
        if not paths.prepared.exists():
            shutil.copytree(prepared, paths.prepared)
        log = folder / f"{out}.log"
        return fork(lambda tell: _train(tell, params, paths, stage, where), log)

    uncut = run("uncut")
    if uncut.code != 0:
        outcome.count(named, f"the uncut run {uncut.words()}")
        return
    for number, cut in enumerate(cuts):
        step, moment = {**CUTS, **BETWEEN}[cut]
        fallen = run(f"cut-{number}", (stage, step, moment))
        resumed = run(f"cut-{number}")
        outcome.count(f"{named}, {cut}", compare(uncut, fallen, resumed, stage, step))
        shutil.rmtree(folder / f"cut-{number}")


def _train(tell: Tell, params: Params, paths: RunPaths, last: str, cut: Cut | None) -> None:
    """Stage 1 and, where `last` says so, stage 2; what is finished is found."""
    from medtune.stages import finetune, frozen

    tell_training(tell, cut, state=True)
    os.environ["MEDTUNE_DEVICE"] = "cpu"
    first = frozen.run(params, paths, 1)
    tell("kept", stage="frozen", sha256=first.sha256)
    if last == "finetune":
        if cut == ("finetune", 0, "published"):
            os.kill(os.getpid(), signal.SIGKILL)
        second = finetune.run(params, paths, 1)
        tell("kept", stage="finetune", sha256=second.sha256)


def compare(uncut: Ended, fallen: Ended, resumed: Ended, stage: str, step: int) -> str | None:
    """What differs between the uncut run and the two halves of the cut one, or None."""
    if not fallen.killed:
        return f"was not killed: {fallen.words()}"
    if resumed.code != 0:
        return f"did not resume: {resumed.words()}"
    if steps_of(resumed.told, "frozen fold 1") and stage == "finetune":
        return "stage 1 was trained again"
    began = [event["step"] for event in resumed.events("trains") if event["name"].startswith(stage)]
    if began != [step]:
        return f"went on from step {began}, expected {step}"
    whole = {event["name"]: event["state"] for event in uncut.events("trained")}
    ended = {event["name"]: event["state"] for run in (fallen, resumed) for event in run.events("trained")}
    for name, state in whole.items():
        right = steps_of(uncut.told, name)
        for which, run in (("before", fallen), ("after", resumed)):
            for number, (rows, loss) in steps_of(run.told, name).items():
                if rows != right[number][0]:
                    return f"{name}: step {number}, {which} the cut, has other samples"
                if loss != right[number][1]:
                    return f"{name}: step {number}, {which} the cut, has another loss"
        if (done := steps_of([*fallen.told, *resumed.told], name)).keys() != right.keys():
            return f"{name}: {len(done)} steps instead of {len(right)}"
        for thing, digest in state.items():
            if ended.get(name, {}).get(thing) != digest:
                return f"{name}: {thing} differ"
    kept = {event["stage"]: event["sha256"] for event in resumed.events("kept")}
    if kept != {event["stage"]: event["sha256"] for event in uncut.events("kept")}:
        return "the kept artifacts differ"
    return None
