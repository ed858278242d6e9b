"""Options and arguments that several commands share, and how a help page shows its examples."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Whole params file, or an overlay on the project's params.yaml."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one value; may be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Put data/prepared and artifacts under DIR.")]
WithPrefect = Annotated[
    bool, typer.Option("--prefect/--no-prefect", help="Record the run with Prefect, or call the same steps directly.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; progress goes to stderr.")]
Fold = Annotated[int | None, typer.Option(min=0, help="Test fold to train; default: every fold that the params name.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Exported folder, for example artifacts/export.")]
Precision = Annotated[Literal["fp32", "fp16", "int8"], typer.Option(help="Model file to use.")]
Provider = Annotated[Literal["cpu", "cuda", "tensorrt"], typer.Option(help="Where onnxruntime computes.")]


def examples(*lines: str) -> str:
    """Return the end of a help page.

    Args:
        lines: complete command lines; the first is the most common use.
    """
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *lines])


def program() -> typer.Typer:
    """Return an empty program for one command or one group of commands."""
    return typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
