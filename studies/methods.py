"""`python -m studies.methods`: writes docs/methods.md, which PEFT method fits which backbone, from the registry."""

from medtune.cli.program import run
from medtune.config import registry
from medtune.config.project import PROJECT
from medtune.models.peft_support import KNOWN_FAMILIES as FAMILIES
from medtune.runtime.artifact import write_text
from medtune.runtime.console import info

PAGE = PROJECT / "docs" / "methods.md"
# From this heading on, the page is written by hand.
BY_HAND = "\n## Differences from the publications\n"


def render() -> str:
    """Return the page: one row per method from its file, then what is written by hand."""
    lines = [
        "# PEFT methods",
        "",
        "`model.peft.method` selects what stage 2 trains. The head is always trained. A method that does not support",
        "the backbone is refused before training. The table is written by `python -m studies.methods` from the files",
        "in models/peft.",
        "",
        "- **other**: swin, hiera, cait and the other transformers of timm. The layers are found automatically",
        "  ([backbones](backbones.md)).",
        "- **merged**: the bundle contains the plain network, at no additional cost.",
        "- **learning rates**: `lr: auto` and the benchmark choose among these on validation.",
        "",
        f"| method | {' | '.join(FAMILIES)} | other | merged | learning rates | description |",
        f"|-|{'-|' * len(FAMILIES)}-|-|-|-|",
    ]
    for name in registry.plugin_names("medtune.models.peft"):
        if name == "none":
            continue
        method = registry.load_plugin("medtune.models.peft", name, "model.peft.method")
        what = (method.__doc__ or "").splitlines()[0].partition(": ")[2].rstrip(".")
        fits = " | ".join("x" if family in method.SUPPORTED_FAMILIES else "" for family in FAMILIES)
        other = "x" if getattr(method, "OTHER_FAMILIES", False) else ""
        merged = "x" if hasattr(method, "merge") else ""
        rates = ", ".join(f"{rate:g}" for rate in method.LR_GRID)
        lines.append(f"| `{name}` | {fits} | {other} | {merged} | {rates} | {what} |")
    _, heading, by_hand = PAGE.read_text(encoding="utf-8").partition(BY_HAND)
    return "\n".join(lines) + "\n" + heading + by_hand


def write() -> None:
    """Write the table of docs/methods.md and leave the rest of the page as it is."""
    write_text(PAGE, render())
    info(f"{PAGE.relative_to(PROJECT)} written")


if __name__ == "__main__":
    run(write)
