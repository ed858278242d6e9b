"""Shared command line options, and examples on help pages."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="File with params. Missing keys are read from params.yaml."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one value of the params, for example seed=2. Repeatable."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write data/prepared and artifacts to DIR instead of the project."),
]
WithPrefect = Annotated[
    bool,
    typer.Option("--prefect/--no-prefect", help="Record the steps with Prefect, or run the same steps without it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and progress on stderr.")]
Fold = Annotated[
    int | None,
    typer.Option(min=0, help="Train only the network of this test fold. Default: the networks of all folds."),
]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, for example artifacts/export.")]
Precision = Annotated[
    Literal["fp32", "fp16", "int8"], typer.Option(help="Number format of the model. The bundle must contain it.")
]
Provider = Annotated[
    Literal["cpu", "cuda", "tensorrt"], typer.Option(help="Device that runs the model (provider of onnxruntime).")
]


def examples(*lines: str) -> str:
    """Return the examples at the end of a help page.

    Args:
        lines: complete command lines, the most common use first.

    Returns:
        One paragraph per line.
    """
    escaped = [line.replace("[", r"\[") for line in lines]  # the package rich would interpret [fp32, int8] as markup
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *escaped])


def program() -> typer.Typer:
    """Return an empty Typer app for a command or a group of commands."""
    return typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
