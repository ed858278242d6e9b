"""`python -m studies.methods`: write the table of docs/methods.md, the backbone families of each PEFT method."""

from medtune.cli.program import run
from medtune.config import registry
from medtune.config.project import PROJECT
from medtune.models.peft_support import KNOWN_FAMILIES as FAMILIES
from medtune.models.peft_support import VOLUME, supports
from medtune.runtime.artifact import write_text
from medtune.runtime.console import info

PAGE = PROJECT / "docs" / "methods.md"
# From this heading on, the page is written by hand.
BY_HAND = "\n## Differences from the publications\n"


def render() -> str:
    """Return the page: a table with one row per plugin of models/peft, then the present sections from `BY_HAND` on."""
    lines = [
        "# PEFT methods",
        "",
        "PEFT is parameter-efficient fine-tuning. `model.peft.method` selects the parameters that stage 2",
        "(fine-tuning) trains in addition to the head. A method that does not support the backbone (no x in the",
        "table) is refused before training. `python -m studies.methods` writes the table from the files in",
        "models/peft.",
        "",
        f"- **{', '.join(FAMILIES)}**: families of backbones. The networks of a family have the same kind of blocks.",
        "- **other**: swin, hiera, cait and all other families of timm. MedTune finds their layers automatically.",
        "- **volumes**: networks with 3-D convolutions, which read volumes.",
        "- **merged**: export merges the method into the weights, so the bundle is as fast as the plain network.",
        "- **learning rates**: `lr: auto` and the benchmark select one of these rates by the validation metric.",
        "",
        f"| method | {' | '.join(FAMILIES)} | other | volumes | merged | learning rates | description |",
        f"|-|{'-|' * len(FAMILIES)}-|-|-|-|-|",
    ]
    for name in registry.plugin_names("medtune.models.peft"):
        if name == "none":
            continue
        method = registry.load_plugin("medtune.models.peft", name, "model.peft.method")
        what = (method.__doc__ or "").splitlines()[0].partition(": ")[2].rstrip(".")
        fits = " | ".join("x" if family in method.SUPPORTED_FAMILIES else "" for family in FAMILIES)
        other = "x" if getattr(method, "ALLOW_UNKNOWN_FAMILIES", False) else ""
        volumes = "x" if supports(method, VOLUME) else ""
        merged = "x" if hasattr(method, "merge") else ""
        rates = ", ".join(f"{rate:g}" for rate in method.LR_GRID)
        lines.append(f"| `{name}` | {fits} | {other} | {volumes} | {merged} | {rates} | {what} |")
    _, heading, by_hand = PAGE.read_text(encoding="utf-8").partition(BY_HAND)
    return "\n".join(lines) + "\n" + heading + by_hand


def write() -> None:
    """Write the table of docs/methods.md and leave the rest of the page as it is."""
    write_text(PAGE, render())
    info(f"{PAGE.relative_to(PROJECT)} written")


if __name__ == "__main__":
    run(write)
