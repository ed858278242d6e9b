"""Two runs at once, disks that are full or closed, services that are down: what is done stays, what can goes on."""

from pathlib import Path
from typing import Any

from torture.outages import inside
from torture.outcome import Outcome

NUMBER = 13
TITLE = "two runs of one key at once; disk full; read-only folder; W&B or Prefect down, 401, stalled, dying"
TARGET = "effects once; old artifact intact; training finishes; a clear message and a non-zero exit where it cannot"
MOUNTS = ("full-out", "full-cache", "closed")


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """One kind of outage each; in the small form writes of the data stage that fail."""
    if not full:
        return {"data": {"what": "short", "limits": [1_000, 20_000], "trains": False}}
    from torture.outages.servers import KINDS

    return {
        "two": {"what": "two"},
        "full-out": {"what": "full-out", "free_kb": [0, 40, 100, 300, 800, 2000]},
        "full-cache": {"what": "full-cache", "free_kb": [0, 8, 40, 100]},
        "short": {"what": "short", "limits": [0, 1_000, 20_000, 60_000, 300_000]},
        "closed": {"what": "closed"},
        **{f"wandb-{n}": {"what": "wandb", "kinds": list(KINDS[n::4])} for n in range(4)},
        **{f"prefect-{n}": {"what": "prefect", "kinds": list(KINDS[n::4])} for n in range(4)},
        "dying": {"what": "dying"},
    }


def inject(folder: Path, what: str, **arguments: Any) -> Outcome:
    """One kind of outage."""
    if what in MOUNTS and not inside.is_inside():
        return inside.perform("torture.scenarios.outage", folder, {"what": what, **arguments})
    from torture.outages import disk_faults, service_faults

    if what in (*MOUNTS, "short"):
        return disk_faults.inject(folder, what, **arguments)
    return service_faults.inject(folder, what, **arguments)
