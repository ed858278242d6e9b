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
    """Return the page: a table with one row per plugin of models/peft, and the current text from `BY_HAND` on."""
    lines = [
        "# PEFT methods",
        "",
        "This page lists the PEFT methods of MedTune and shows which networks support each method. PEFT is "
        "parameter-efficient fine-tuning. A PEFT method trains a small part of the parameters of a pretrained network, "
        "or a small number of additional parameters.",
        "",
        "A network consists of a pretrained *backbone* and a *head*, which predicts the classes. `model.peft.method` "
        "selects the method. The method determines which parameters of the backbone are trained. The head is always "
        "trained. [Settings](settings.md#the-two-stages) describes the training.",
        "",
        "The table has one row per method and these columns:",
        "",
        f"- **{', '.join(FAMILIES)}**: an x means that the method supports this family of backbones. MedTune refuses "
        "an unsupported backbone before training.",
        "- **other**: an x means that the method supports backbones of other timm families, for example Swin and "
        "Hiera.",
        "- **volumes**: an x means that the method supports networks with 3-D convolutions, which read volumes.",
        "- **merged**: an x means that export merges the trained change into the weights. The exported model is then "
        "as fast as the original network.",
        "- **learning rates**: the rates that MedTune tries with `lr: auto` and in the [benchmark](benchmark.md). "
        "MedTune selects the rate with the best validation metric.",
        "- **description**: how the method changes the network, with the publication in most rows.",
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
    """Write the table of docs/methods.md and keep the text below it."""
    write_text(PAGE, render())
    info(f"{PAGE.relative_to(PROJECT)} written")


if __name__ == "__main__":
    run(write)
