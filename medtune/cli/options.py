"""Shared command line options, and examples on help pages."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Params file. Keys that it lacks are read from params.yaml."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one value. Repeatable.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Put data/prepared and artifacts under DIR.")]
WithPrefect = Annotated[
    bool, typer.Option("--prefect/--no-prefect", help="Run with Prefect, or run the same steps without it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and progress on stderr.")]
Fold = Annotated[int | None, typer.Option(min=0, help="Test fold to train. Default: all folds.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, for example artifacts/export.")]
Precision = Annotated[Literal["fp32", "fp16", "int8"], typer.Option(help="Precision of the model.")]
Provider = Annotated[Literal["cpu", "cuda", "tensorrt"], typer.Option(help="Execution provider of onnxruntime.")]


def examples(*lines: str) -> str:
    """Return the examples at the end of a help page.

    Args:
        lines: complete command lines, the most common use first.

    Returns:
        One paragraph per line.
    """
    escaped = [line.replace("[", r"\[") for line in lines]  # rich would read [fp32, int8] as markup
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *escaped])


def program() -> typer.Typer:
    """Return an empty Typer app for a command or a group of commands."""
    return typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
