"""Command `medtune init`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medtune.cli import options
from medtune.cli.json_output import print_json
from medtune.cli.program import INSTALL

if TYPE_CHECKING:
    from medtune.cli.detected import DetectedData

app = options.program()

# Project folders without training images.
NOT_IMAGES = {"artifacts", "config", "docs", "models", "notebooks", "published", "recipes", "src", "tests", "wandb"}
LARGER_MODEL_COMMAND = "medtune params set model.backbone=deit_tiny_patch16_224 data.image_size=224"
USUAL_FOLDERS = ("data/raw", "images", "data")


@app.command(
    epilog=options.examples(
        "medtune init", "medtune init my-project --data /path/to/images --positive malignant", "medtune init --json"
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
    """Create a project for your images in a folder.

    Detects class folders, tables, whole-slide images, BreakHis names, MedMNIST files, image sizes and patients. Writes
    params.yaml and prints the next commands. Images are never changed. Without images, the project uses synthetic
    data.
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
    commands = _commands(folder, detected, importlib.util.find_spec("torch") is not None, with_dvc)
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
    print(f"for better results, use a larger backbone, whose weights are downloaded:\n  {LARGER_MODEL_COMMAND}")


def _check_new(folder: Path) -> None:
    from medtune.config.errors import InputError
    from medtune.config.project import PARAMS_FILE

    if (path := folder / PARAMS_FILE).exists():
        raise InputError(f"{path}: the file exists. Change it with `medtune params set`, or replace it with --force")


def _detect(folder: Path, data: Path | None) -> "DetectedData":
    from medtune.cli.detect import detect
    from medtune.cli.detected import DetectedData
    from medtune.config.errors import InputError
    from medtune.data.table import SUFFIXES

    if data is not None and not data.exists():
        raise InputError(f"--data={data}: no such folder or file. Name the folder with your images")
    root = data.resolve() if data is not None else _find_root(folder)
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
    """Set data.positive, which is never guessed.

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


def _find_root(folder: Path) -> Path | None:
    """Return the only folder of the project that contains images, or None."""
    from medtune.config.errors import InputError

    if not folder.is_dir():
        return None
    for name in USUAL_FOLDERS:
        if _contains_images(folder / name):
            return folder / name
    candidates = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.name not in NOT_IMAGES and _contains_images(path)
    ]
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates[:4])
        raise InputError(
            f"{folder}: {len(candidates)} folders contain images ({names}). If they are your classes, run "
            f"`medtune init NEW-FOLDER --data {folder}`. Otherwise name one of them in --data"
        )
    return candidates[0] if candidates else None


def _contains_images(folder: Path) -> bool:
    from medtune.data.listing import find_files
    from medtune.serving.decode import SUFFIXES
    from medtune.serving.slides.slide import SUFFIXES as SLIDE_SUFFIXES

    suffixes = (*SUFFIXES, *SLIDE_SUFFIXES)
    return folder.is_dir() and (any(find_files(folder, suffixes)) or any(folder.glob("*.npz")))


def _commands(folder: Path, detected: Any, can_train: bool, with_dvc: bool) -> list[str]:
    """Return the suggested next commands."""
    change_folder = [] if folder == Path.cwd() else [f"cd {folder}"]
    install = [] if can_train else [INSTALL]
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
