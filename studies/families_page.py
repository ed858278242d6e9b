"""Markdown page of `studies.families`: which timm backbones work with MedTune."""

from dataclasses import dataclass

import timm

MODES = ("frozen", "fine-tuning", "export", "lora")
# Limit in millions of parameters, because larger networks would take too much memory and time.
MAX_PARAMETERS = 120.0


@dataclass
class Row:
    """One family.

    Attributes:
        family: module of timm.models.
        backbone: timm name of the tested network.
        side: side of the images, pixels; 0 if no network was tested.
        parameters: millions of parameters of the network.
        outcome: result by mode: `works`, `refused: ...` by the check at the start, `FAILED: ...` after the check, or
            `not tried: ...`.
        seconds: CPU time of the test.
    """

    family: str
    backbone: str
    side: int
    parameters: float
    outcome: dict[str, str]
    seconds: float


def render(rows: list[Row], known: list[str]) -> str:
    """Return the text of docs/backbones.md.

    Args:
        rows: results of the families that were examined.
        known: names of all families of timm.
    """
    tried = [row for row in rows if row.side]
    total, absent = len(known), [name for name in known if name not in {row.family for row in rows}]
    counts = {mode: sum(row.outcome[mode] == "works" for row in rows) for mode in MODES}
    failed = sum(outcome.startswith("FAILED") for row in rows for outcome in row.outcome.values())
    lines = [
        "# Backbones",
        "",
        "This table shows which timm backbones work with MedTune. A family is a module of `timm.models`. One small",
        "network per family is tested, with random weights and the smallest image size that it accepts (column `side`,",
        "in pixels). Sizes up to 512 are tried. If none works, the reason is the message for the last size. The last",
        "four columns are the tested modes:",
        "",
        "- **frozen**: stage 1 trains the head on the frozen backbone.",
        "- **fine-tuning**: stage 2 trains the backbone, too.",
        "- **export**: the ONNX graph gives the same probabilities as the network.",
        "- **lora**: stage 2 with the PEFT method `lora`, without stage 1.",
        "",
        "An `x` means that the mode works. *Refused* means that the check at the start of `medtune train` rejects the",
        "network. *Not tried* means that the network is too large for this test. A number in parentheses refers to the",
        "reason below the table, which may name another small network of the family. Side 0 means that no network was",
        "tested.",
        "",
        f"`python -m studies.families` writes this page (timm {timm.__version__}).",
        "",
        f"Of {total} families, {len(rows)} were examined. In {len(tried)} of them, a network with at most "
        f"{MAX_PARAMETERS:.0f} million parameters was tested: "
        + ", ".join(f"{mode} works on {count}" for mode, count in counts.items())
        + f". Failures after the check: {failed} (modes that did not work although the check accepted the network).",
        "",
        f"| family | network | side | million parameters | {' | '.join(MODES)} |",
        f"|-|-|-|-|{'-|' * len(MODES)}",
    ]
    notes: list[str] = []
    for row in rows:
        cells = []
        for mode in MODES:
            state, _, reason = row.outcome[mode].partition(": ")
            note = f"`{row.backbone}`: {reason}"
            if reason and note not in notes:
                notes.append(note)
            cells.append("x" if state == "works" else f"{state} ({notes.index(note) + 1})")
        lines.append(f"| {row.family} | `{row.backbone}` | {row.side} | {row.parameters} | {' | '.join(cells)} |")
    if absent and len(rows) > len(absent):
        lines += ["", f"Not run yet: {', '.join(absent)}."]
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"
