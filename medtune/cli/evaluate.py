"""Command `medtune evaluate`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options
from medtune.cli.json_output import print_json, progress_on_stderr

app = options.program()
Bundle = Annotated[
    Path | None,
    typer.Argument(metavar="BUNDLE", help="Bundle to evaluate on --data. Default: the networks of the project."),
]


@app.command(
    epilog=options.examples(
        "medtune evaluate",
        "medtune evaluate --by sex --by site --json",
        "medtune evaluate artifacts/export --data external/labels.csv --set data.columns.patient=case --out external",
        "medtune evaluate artifacts/export --data class_folders/ --set 'data.label_map={tumor: malignant}'",
    )
)
def evaluate(
    bundle: Bundle = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="With BUNDLE: table of labels, or folder with one subfolder per class. For segmentation: folder with "
            "dataset.json, folder with images and masks, or table with the columns path and mask.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Also evaluate the subgroups in this column of the table. Repeatable."),
    ] = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that contains artifacts. With BUNDLE: folder for the result (default: evaluation-DATA).",
        ),
    ] = None,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    training_data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="With BUNDLE: data/prepared of its training, to find images that the model has seen."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Evaluate the trained networks on test images, or a bundle on other data.

    Without BUNDLE, the command evaluates the networks of the project.
    It writes metrics.json, predictions, plots and report.html to
    artifacts/evaluate.

    With BUNDLE and --data, the command evaluates a bundle on other data,
    with the decision rule of the bundle. It needs no project.
    """
    sets = [*(overrides or ())]
    if by:
        sets.append(f"evaluate.by={json.dumps(by, ensure_ascii=False)}")
    if bundle is None:
        _reject({"--data": data, "--training-data": training_data, "--precision": precision != "fp32" or None})
        folder = _folds(params, sets, out, as_json)
    else:
        folder = _bundle(bundle, _require_data(data, params), out, sets, precision, provider, training_data, as_json)
    if as_json:
        print_json(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def _reject(bundle_options: Mapping[str, object]) -> None:
    """Raise InputError if an option that needs a bundle is given without a bundle."""
    from medtune.config.errors import InputError

    if wrong := [name for name, value in bundle_options.items() if value is not None]:
        raise InputError(f"{wrong[0]}: applies to a bundle only. Name the bundle: medtune evaluate BUNDLE --data PATH.")


def _require_data(data: Path | None, params: Path | None) -> Path:
    """Return the option --data, which is required for a bundle."""
    from medtune.config.errors import InputError

    if data is None:
        raise InputError(
            "--data: missing. Name a table of labels or a folder of class folders; for volumes, a folder or a table of "
            "volumes and masks."
        )
    if params is not None:
        raise InputError(f"--params={params}: a bundle contains its params. Set data.* and evaluate.* with --set.")
    return data


def _folds(params: Path | None, sets: list[str], out: Path | None, as_json: bool) -> Path:
    """Evaluate the networks of the project, and return the folder of the result."""
    from medtune.config.load import load
    from medtune.runtime.console import info
    from medtune.runtime.lock import output_lock
    from medtune.runtime.paths import RunPaths
    from medtune.stages import evaluate as stage

    loaded, paths = load(params, sets), RunPaths.from_env(out)
    with progress_on_stderr(as_json), output_lock(paths):
        artifact = stage.run(loaded, paths)
        info(f"evaluate: {artifact.path}")
    return artifact.folder


def _bundle(
    bundle: Path,
    data: Path,
    out: Path | None,
    sets: list[str],
    precision: str,
    provider: str,
    training_data: Path | None,
    as_json: bool,
) -> Path:
    """Evaluate a bundle, and return the folder of the result."""
    from medtune.api import evaluate_bundle
    from medtune.runtime.console import info

    with progress_on_stderr(as_json):
        evaluation = evaluate_bundle(bundle, data, out, sets, precision, provider, training_data)
        info(f"evaluate: {evaluation.report}")
    return evaluation.folder
