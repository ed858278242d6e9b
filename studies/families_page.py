"""Markdown page of `studies.families`: which timm backbones work with MedTune."""

from dataclasses import dataclass

import timm

MODES = ("frozen", "fine-tuning", "export", "lora")
# Largest tested network in millions of parameters. Larger networks would need too much memory and time.
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
    absent = [name for name in known if name not in {row.family for row in rows}]
    counts = {mode: sum(row.outcome[mode] == "works" for row in rows) for mode in MODES}
    failed = sum(outcome.startswith("FAILED") for row in rows for outcome in row.outcome.values())
    lines = [
        "# Backbones",
        "",
        "This page shows which timm networks work as the backbone of a MedTune classifier. A *backbone* is a "
        "pretrained network that computes features of an image. A *head* is a small network that computes class "
        "probabilities from these features.",
        "",
        "The table has one row per family. A family is a module of `timm.models`. In most families, one small "
        "network was tested with random weights. The other networks of the family were not tested.",
        "",
        "| column | meaning |",
        "|-|-|",
        "| network | the name of the tested network |",
        "| side | the width and height of the test images, in pixels |",
        "| million parameters | the size of the network |",
        "| frozen | training of the head, with an unchanged backbone |",
        "| fine-tuning | training of the head and the backbone |",
        "| export | export to ONNX. The exported network must give the same probabilities as the torch network |",
        "| lora | training of the head and of the parameters that the method [LoRA](methods.md) adds to the backbone |",
        "",
        "The last four columns contain the result of the test:",
        "",
        "- **x**: the test succeeded.",
        "- **refused**: `medtune train` refuses the network before training starts.",
        f"- **not tried**: the smallest network of the family has more than {MAX_PARAMETERS:.0f} million parameters. "
        "Such a network is too large for this test.",
        "",
        "A number in parentheses refers to the list of reasons below the table. For a refused network, the reason is "
        "the error message of MedTune. The message can name another small network of the family that was also tested.",
        "",
        f"timm {timm.__version__} has {len(known)} families. In {len(tried)} families, a network was tested. "
        "The number of families in which a test succeeded: "
        + ", ".join(f"{mode} {count}" for mode, count in counts.items())
        + f". {f'{failed} tests' if failed else 'No test'} of an accepted network failed. "
        "`python -m studies.families` repeats the tests.",
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
        size = f"{row.side} | {row.parameters}" if row.side else "– | –"
        lines.append(f"| {row.family} | `{row.backbone}` | {size} | {' | '.join(cells)} |")
    if absent and len(rows) > len(absent):
        lines += ["", f"Not run yet: {', '.join(absent)}."]
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"
