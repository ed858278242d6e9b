"""Entry point of `medtune`, and the table of its commands. The module of a command is imported when it is called."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from medtune.cli import program
from medtune.cli.options import examples


class Entry(NamedTuple):
    """Entry of `medtune --help`: module of the command, title of its panel on the page, and summary."""

    module: str
    panel: str
    summary: str


START, PIPELINE, USE, PARAMS = "Start", "Train", "Use a trained model", "Parameters"
COMPARE, OPERATE = "Compare, retrain and roll back", "Operate"

COMMANDS = {
    "init": Entry("init", START, "Create a project for your images or volumes in a folder."),
    "doctor": Entry("doctor", START, "Check that this machine can run the pipeline with these params."),
    "status": Entry("status", START, "Show which steps are finished and which would run."),
    "params": Entry("params", PARAMS, "Show, change, check and explain params.yaml."),
    "recipes": Entry("recipes", PARAMS, "List the recipes: files with settings for common data sets and methods."),
    "data": Entry("data", PIPELINE, "Prepare the images or volumes for training: find, check, split and convert them."),
    "train": Entry("train", PIPELINE, "Train, evaluate and export. Finished steps are reused."),
    "evaluate": Entry(
        "evaluate",
        PIPELINE,
        "Evaluate the trained networks on test images, or a bundle on other data.",
    ),
    "export": Entry("export", PIPELINE, "Export the trained networks as an ONNX bundle."),
    "stage": Entry("stage", PIPELINE, "Run only one training stage, for example on several GPUs."),
    "predict": Entry("predict", USE, "Predict the classes of images or slides, or segment volumes or images."),
    "serve": Entry("serve", USE, "Serve a bundle over HTTP."),
    "verify": Entry("verify", USE, "Verify a bundle's files and its sample predictions."),
    "benchmark": Entry("benchmark", COMPARE, "Train and compare the methods in benchmark.yaml."),
    "retrain": Entry("retrain", COMPARE, "Fetch new data, train, and publish the model if it is better."),
    "rollback": Entry("rollback", COMPARE, "Replace the accepted model by an earlier accepted model."),
    "services": Entry("services", OPERATE, "Run the Prefect server and worker that retrain on schedule."),
    "remote": Entry("remote", OPERATE, "Set the DVC remote, the shared storage for data and results."),
    "sync": Entry("sync", OPERATE, "Upload the W&B runs that were recorded offline."),
    "dashboard": Entry("dashboard", OPERATE, "Save a W&B view that shows the runs of the project."),
}


class LazyGroup(TyperGroup):
    """Command group that imports a command when it is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = {
            name: TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel)
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name, the imported command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and command else None, rest


def load(name: str) -> Any:
    """Import and return a command of COMMANDS."""
    module = importlib.import_module(f"medtune.cli.{COMMANDS[name].module}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"medtune {version('medtune')}")
        except PackageNotFoundError:  # a checkout on PYTHONPATH that was never installed
            typer.echo("medtune, version unknown: not installed")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
]


@app.callback(
    epilog=examples("medtune init", "medtune train --set finetune.epochs=3", "medtune predict artifacts/export scans/")
)
def medtune(version: Version = False) -> None:
    """Fine-tune vision backbones on small sets of medical images and export a verified ONNX bundle.

    A project is a folder with params.yaml, which contains all settings.
    A bundle is a folder with an ONNX model, its preprocessing and its metrics.
    """


def call(words: Sequence[str] | None = None) -> int:
    """Run one command in this process.

    Args:
        words: arguments of `medtune`; None for the arguments of this process.

    Returns:
        Exit code: 0 success, 1 failed run, 2 invalid input or usage.
    """
    return program.execute(typer.main.get_command(app), "medtune", words)


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    code = call()
    if "medtune.flows.server" in sys.modules:  # the run used Prefect
        sys.modules["medtune.flows.server"].exit_without_server(code)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, as in `medtune predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise, Python prints the error at exit
        sys.exit(code or 1)
    sys.exit(code)
