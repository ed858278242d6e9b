"""BreakHis's patient 13412, who is there under two classes: drawn after its names, and among real images."""

import os
import shutil
from pathlib import Path
from typing import Any

from medtune.config.project import PROJECT
from medtune.data.sources import breakhis
from torture.leaky.listings import leaking
from torture.leaky.small_sets import apart, command, manifest, textures, words
from torture.outcome import Outcome

PATIENTS, EACH = 6, 2
TASKS = ("binary", "malignant4", "subtypes8")
ASKED: tuple[tuple[str, int | None], ...] = (("patient", 200), ("image", 200), ("official", 200), ("patient", None))
REAL = Path("data") / "breakhis200x"


def slide(folder: Path, seed: int, outcome: Outcome) -> None:
    """A drawn set in BreakHis's naming, each task under each protocol in turn."""
    root = folder / "raw"
    root.mkdir()
    names = _draw(root, seed)
    task, (protocol, magnification) = TASKS[seed % 3], ASKED[seed // 3 % 4]
    if protocol == "official":
        for fold in range(1, 6):
            lines = [f"{name}|200|{fold}|{'test' if _case(name) % 5 == fold - 1 else 'train'}" for name in names]
            (root / f"dsfold{fold}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    more = {"data.labels": task, "data.magnification": magnification, "data.split.folds": 5}
    code, said = command(words("breakhis", root, protocol, **more), folder / "out")
    fault = _flagged(folder, task, protocol, EACH) if code == 0 else f"ended with {code}: {said.strip()}"
    outcome.count(f"13412 drawn, task {task}, {protocol}, magnification {magnification}", fault)


def _draw(root: Path, seed: int) -> list[str]:
    """Slides of every subtype; 13412 has the same pictures as ductal and as lobular carcinoma."""
    slides = [
        f"SOB_{'M' if code in breakhis.MALIGNANT else 'B'}_{code}-14-{1000 * kind + patient}"
        for kind, code in enumerate(breakhis.SUBTYPES, 1)
        for patient in range(PATIENTS)
    ]
    pictures = iter(textures((len(slides) + 1) * EACH, seed))
    names = []
    for same in [[slide] for slide in slides] + [["SOB_M_DC-14-13412", "SOB_M_LC-14-13412"]]:
        for number in range(1, EACH + 1):
            picture = next(pictures)
            for slide in same:
                names.append(f"{slide}-200-{number:03}.png")
                picture.save(root / names[-1])
    return names


def _case(name: str) -> int:
    return int(name.split("-")[2])


def _flagged(folder: Path, task: str, protocol: str, pairs: int) -> str | None:
    """What is wrong with how the set says that 13412 is in it; None where nothing is."""
    rows, roles, info, report = manifest(folder / "out")
    groups = [row["patient"] for row in rows]
    mine = [place for place, group in enumerate(groups) if group == breakhis.MISLABELED_PATIENT]
    exact = report["duplicates"]["exact"]
    truth = leaking(groups, roles, list(range(len(roles[0]))))
    twins = [
        pair["paths"] for pair in exact["first"] if all(breakhis.MISLABELED_PATIENT in path for path in pair["paths"])
    ]
    parted = sum(
        apart(roles[a], roles[b])
        for a in mine
        for b in mine
        if a < b and rows[a]["sha256"] == rows[b]["sha256"]
    )  # fmt: skip
    checks = {
        f"it has {len(mine)} images": len(mine) == 2 * pairs,
        "dataset.json does not name it": any(breakhis.MISLABELED_PATIENT in fault for fault in info["faults"]),
        f"{len(twins)} pairs are named": len(twins) == exact["sets"] == pairs,
        f"{exact['with_different_labels']} have two labels": exact["with_different_labels"]
        == (0 if task == "binary" else pairs),
        f"{exact['across_splits']} are across splits": exact["across_splits"] == parted,
        "it is in two parts of a split": protocol != "patient" or (not parted and not truth),
        "the leaks named are not those there are": set(info["leaked_patients"]) == truth,
        "it takes part": protocol != "official" or all(set(roles[place]) == {"unused"} for place in mine),
    }
    return next((words for words, holds in checks.items() if not holds), None)


def real(folder: Path, seed: int, outcome: Outcome) -> None:
    """Real images: two of them filed as 13412 under two classes; one copied to another patient; nearly copied."""
    shared = Path(os.environ.get("MEDTUNE_SHARED") or PROJECT.parent / "shared") / REAL
    if not shared.is_dir():
        outcome.not_run.append(f"no real images at {REAL} under ../shared or $MEDTUNE_SHARED")
        return
    from PIL import Image

    root = folder / "raw"
    root.mkdir()
    for path in sorted(shared.rglob("SOB_*.png")):
        shutil.copyfile(path, root / path.name)
    ductal = sorted(path.name for path in root.glob("SOB_M_DC*"))
    protocol = ("patient", "patient", "image")[seed]
    copy = f"SOB_M_DC-14-{_case(ductal[-1])}-200-900{('', '.bmp', '.jpg')[seed]}"
    if seed == 0:
        for number in range(2):
            for subtype in ("DC", "LC"):
                shutil.copyfile(root / ductal[number], root / f"SOB_M_{subtype}-14-13412-200-{number:03}.png")
        for name in ductal[:2]:  # they are 13412's now
            (root / name).unlink()
    else:
        Image.open(root / ductal[0]).save(root / copy, quality=85)
    asked: dict[str, Any] = words("breakhis", root, protocol, **{"data.labels": "binary", "data.image_size": 64})
    code, said = command(asked, folder / "out")
    what = f"real images, {('13412', 'an exact copy', 'a near copy')[seed]}, {protocol}"
    if seed == 0:
        outcome.count(what, _flagged(folder, "binary", protocol, 2) if code == 0 else said.strip())
    elif seed == 1:
        named = code == 2 and ductal[0] in said and copy in said
        outcome.count(what, None if named else f"ended with {code}: {said.strip()}")
    else:
        outcome.count(what, _near_told(folder, {ductal[0], copy}) if code == 0 else said.strip())


def _near_told(folder: Path, pair: set[str]) -> str | None:
    rows, roles, info, report = manifest(folder / "out")
    if set(info["leaked_patients"]) != leaking([row["patient"] for row in rows], roles, list(range(len(roles[0])))):
        return "the leaks named are not those there are"
    if not any(set(near["paths"]) == pair for near in report["duplicates"]["near"]["first"]):
        return f"{' and '.join(sorted(pair))} are not in report.json"
    return None
