"""SIGKILL at any moment of every stage, and inside its saves; the next run goes on, and all is as if uncut."""

import json
from pathlib import Path
from typing import Any

from torture.outcome import Outcome

NUMBER = 1
TITLE = "kill -9 at moments of each stage, drawn from its time and from what it does to files"
TARGET = "every run resumes; 0 unreadable artifacts; at most one checkpoint interval lost; nothing left behind"

# The small job, trained longer, with a checkpoint at every step.
LONGER = {"frozen": {"epochs": 6}, "finetune": {"epochs": 6}}
SELDOM = {"frozen": {"checkpoint_seconds": 0.1}, "finetune": {"checkpoint_seconds": 0.1}}
OTHER: dict[str, dict[str, Any]] = {
    "data": {"data": {"patients": 14}},
    "frozen": {"frozen": {"lr": 1e-3}},
    "finetune": {"finetune": {"lr": 1e-3}},
    "evaluate": {"evaluate": {"reliability_bins": 14}},
    "export": {"export": {"parity_images": 15}},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "stored": {},
    "online": {"frozen": {"feature_views": "online"}},
    "lora": {"model": {"peft": {"method": "lora"}}},
    "seldom": SELDOM,
}


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Stages under variants of the job, each with how many kills are aimed at its writing, and how many timed."""
    if not full:
        return {"few": {"runs": [["frozen", "stored", 3, 1]], "flow": False}}
    return {
        "data": {"runs": [["data", "stored", 20, 10]]},
        "frozen": {"runs": [["frozen", "stored", 24, 12]]},
        "frozen-online": {"runs": [["frozen", "online", 16, 8], ["frozen", "seldom", 4, 10]]},
        "finetune": {"runs": [["finetune", "stored", 20, 12]]},
        "finetune-lora": {"runs": [["finetune", "lora", 12, 8], ["finetune", "seldom", 4, 10]]},
        "evaluate": {"runs": [["evaluate", "stored", 24, 10]]},
        "export": {"runs": [["export", "stored", 12, 8]]},
        "command": {"runs": [], "commands": 4},
    }


def inject(folder: Path, runs: list[list[Any]], flow: bool = True, commands: int = 0) -> Outcome:
    """Besieges each stage that `runs` names; kills the real command, Prefect and all, `commands` times."""
    from torture import job
    from torture.kills.kill_loop import Siege
    from torture.kills.killed_command import kill_command

    outcome = Outcome()
    if commands:
        kill_command(outcome, folder, job.params(LONGER, {"tracking": {"mode": "offline"}}), commands)
    for seed, (stage, variant, aimed, timed) in enumerate(runs):
        place = folder / f"{stage}-{variant}"
        place.mkdir(parents=True)
        files = place / "params.yaml", place / "other.yaml"
        for file, overlay in zip(files, ({}, OTHER[stage]), strict=True):
            chosen = job.params(LONGER, VARIANTS[variant], overlay)
            file.write_text(json.dumps(chosen.model_dump(mode="json")), encoding="utf-8")
        Siege(place, *files, stage, flow).run(outcome, f"{stage}, {variant}", aimed, timed, seed)
    return outcome
