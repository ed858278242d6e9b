"""Command `medtune init`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli import options
from medtune.cli.json_output import print_json
from medtune.cli.program import INSTALL, INSTALL_SEGMENT, SEGMENT_PACKAGES

if TYPE_CHECKING:
    from medtune.cli.detected import DetectedData

app = options.program()

LARGER_MODEL_COMMAND = "medtune params set model.backbone=deit_tiny_patch16_224 data.image_size=224"
LARGER_SEGMENT_COMMAND = "medtune params set model.backbone=deit_tiny_patch16_224"
FAST_SEGMENT_COMMAND = (
    "medtune params set 'task.controls=[]' schedule=frozen frozen.epochs=6 frozen.min_steps=150 model.head.width=8"
)


@app.command(
    epilog=options.examples(
        "medtune init",
        "medtune init my-project --data /path/to/images --positive malignant",
        "medtune init my-project --data /path/to/Task04_Hippocampus --json",
    )
)
def init(
    folder: Annotated[Path, typer.Argument(help="Project folder. It is created if it does not exist.")] = Path(),
    data: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder with your images, or the table in it. Default: search in FOLDER."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing params.yaml.")] = False,
    positive: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Positive class, for sensitivity. Required for two classes."),
    ] = None,
    dvc: Annotated[
        bool | None,
        typer.Option("--dvc/--no-dvc", help="Write the DVC files. Default: if DVC is installed."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a project for your images or volumes in a folder.

    The command detects the layout of the data, writes params.yaml, and
    prints the next commands. It never changes the images.

    Images with classes: one folder per class, a table, whole-slide images,
    BreakHis or MedMNIST.

    Volumes with masks: NIfTI files in two folders or a table, nnU-Net, the
    Decathlon, or DICOM series with NIfTI masks.

    Images with masks: two folders or a table.

    Without images, the project uses synthetic data.
    """
    import importlib.util

    from medtune.cli import project_files

    folder = folder.resolve()
    if not force:
        _check_new(folder)
    detected = _detect(folder, data)
    _add_positive(detected, positive)
    tree = project_files.params_tree(detected.settings)
    folder.mkdir(parents=True, exist_ok=True)
    with_dvc = importlib.util.find_spec("dvc") is not None if dvc is None else dvc
    written = project_files.write(folder, tree, with_dvc)
    needed = ("torch", *SEGMENT_PACKAGES) if _segments(detected) else ("torch",)
    can_train = all(importlib.util.find_spec(package) is not None for package in needed)
    commands = _commands(folder, detected, can_train, with_dvc)
    if as_json:
        print_json(
            {
                "project": folder,
                "written": written,
                "found": dict(detected.findings),
                "settings": detected.settings,
                "warnings": detected.warnings,
                "next": commands,
            }
        )
        return
    for what, finding in detected.findings:
        print(f"{what + ':':<12} {finding}")
    for warning in detected.warnings:
        print(f"{'warning:':<12} {warning}")
    print(f"{'written:':<12} {', '.join(written)} in {folder}")
    print("next:")
    for command in commands:
        print(f"  {command}")
    if _segments(detected):
        print(f"for a first try in a fraction of the time, without controls (`medtune doctor` estimates the time):\n"
              f"  {FAST_SEGMENT_COMMAND}")  # fmt: skip
    larger = LARGER_SEGMENT_COMMAND if _segments(detected) else LARGER_MODEL_COMMAND
    print(f"for better results, use a larger backbone, whose weights are downloaded:\n  {larger}")


def _segments(detected: "DetectedData") -> bool:
    """Return True if the task is segmentation."""
    return detected.settings.get("task.kind") == "segmentation"


def _check_new(folder: Path) -> None:
    """Raise InputError if the folder already contains params.yaml."""
    from medtune.config.errors import InputError
    from medtune.config.project import PARAMS_FILE

    if (path := folder / PARAMS_FILE).exists():
        raise InputError(f"{path}: the file exists. Change it with `medtune params set`, or replace it with --force")


def _detect(folder: Path, data: Path | None) -> "DetectedData":
    """Search the data folder, and detect its properties. Without data, return those of the synthetic set."""
    from medtune.cli.data_folder import find_data_folder
    from medtune.cli.detect import detect
    from medtune.cli.detected import DetectedData
    from medtune.config.errors import InputError
    from medtune.data.table import SUFFIXES

    if data is not None and not data.exists():
        raise InputError(f"--data={data}: no such folder or file. Name the folder with your images")
    root = data.resolve() if data is not None else find_data_folder(folder)
    if root is None:
        return DetectedData({}, [("images", "none found: the project uses the built-in synthetic set")],
                            commands=["medtune init --force --data /path/to/images"])  # fmt: skip
    if root == folder or root in folder.parents:
        raise InputError(f"--data={root}: results would be written into the image folder. Use another project folder")
    table = root.name if root.is_file() and root.suffix.lower() in SUFFIXES else None
    if root.is_file() and not table and root.suffix.lower() != ".npz":
        raise InputError(f"--data={data}: the file is not a table. Name the folder with your images")
    root = root.parent if table else root
    detected = detect(root, table)
    known = any(name in ("BreakHis", "MedMNIST") for name, _ in detected.findings)
    if not known and detected.findings[0][1].startswith("0 "):
        raise InputError(f"{root}: no images found. Name the folder with your images in --data")
    detected.settings["data.root"] = root.relative_to(folder).as_posix() if root.is_relative_to(folder) else str(root)
    return detected


def _add_positive(detected: "DetectedData", positive: str | None) -> None:
    """Set data.positive to the class that the user named. Add a warning about similar names of classes.

    Raises:
        InputError: --positive is missing for two classes, or it does not name one of two classes.
    """
    from medtune.config.errors import InputError, suggestion
    from medtune.data.identifiers import label_key, similar

    variants = similar(detected.classes, label_key)
    for names in variants:
        detected.warnings.append(
            f"classes {' and '.join(map(repr, names))} differ in case, blanks, Unicode form or a final dot only. "
            "`medtune data` suggests the setting that merges them"
        )
    classes = tuple(name for name in detected.classes if not any(name in names[1:] for names in variants))
    if positive is not None and _segments(detected):
        raise InputError(f"--positive={positive}: masks have labels, none of which is positive. Remove it")
    if positive is None:
        if len(classes) == 2:
            first, second = (shlex.quote(name) for name in classes)
            raise InputError(
                f"--positive: missing, but the images have two classes, {classes[0]} and {classes[1]}. Name the one "
                f"that sensitivity refers to: --positive {first} or --positive {second}"
            )
        return
    if classes and positive not in detected.classes:
        raise InputError(
            f"--positive={positive}: unknown class{suggestion(positive, list(classes))}. Classes: {', '.join(classes)}"
        )
    multi_label = "task.kind" in detected.settings
    if "data.source" not in detected.settings or len(classes) not in (0, 2) or multi_label:
        found = f"{len(classes)} classes" if classes else "several findings per image" if multi_label else "no images"
        raise InputError(f"--positive={positive}: it needs two classes, but there are {found}. Remove it")
    detected.settings["data.positive"] = positive
    detected.findings.append(("positive", f"{positive}, for sensitivity and the decision threshold"))


def _commands(folder: Path, detected: Any, can_train: bool, with_dvc: bool) -> list[str]:
    """Return the next commands that the user should run."""
    change_folder = [] if folder == Path.cwd() else [f"cd {folder}"]
    install = [] if can_train else [INSTALL_SEGMENT if _segments(detected) else INSTALL]
    repository = ["git init && dvc init"] if with_dvc and not (folder / ".dvc").is_dir() else []
    return [
        *change_folder,
        *install,
        *repository,
        *detected.commands,
        "medtune params check",
        "medtune doctor",
        "medtune data",
        "medtune train",
    ]
