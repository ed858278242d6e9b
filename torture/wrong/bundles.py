"""Bundles with something missing or changed, and arrays, files and requests that are not what a bundle takes."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from torture.wrong.expected_errors import Case

FILE = "bundle.json"
WRONG: tuple[Any, ...] = (None, 7, [], "x")
Change = Callable[[dict[str, Any]], Any]


def bundles(folder: Path, right: Path, picture: Path) -> Iterator[Case]:
    """Every key of bundle.json left out or of another kind, every file missing, damaged or another one's."""
    document = json.loads((right / FILE).read_text(encoding="utf-8"))
    changes: dict[str, tuple[Change, tuple[str, ...]]] = {}
    from medtune.serving.manifest import REQUIRED_KEYS

    for key in (*REQUIRED_KEYS, "classes", "decision"):
        changes[f"no {key}"] = (partial(_drop, [key]), (key,))
        for wrong in WRONG:
            changes[f"{key} {wrong!r}"] = (partial(_put, [key], wrong), (key,))
    for path in ("task.kind", "input.name", "output.name", "preprocessing.image_size", "preprocessing.resize",
                 "decision.kind", "precisions.fp32", "precisions.fp32.file", "precisions.fp32.shipped",
                 "files.model*onnx"):  # fmt: skip
        *parents, last = [part.replace("*", ".") for part in path.split(".")]
        shown = parents[0] if parents[0] in ("decision", "files", "precisions") else path
        changes[f"no {path}"] = (partial(_drop, [*parents, last]), (shown,))
        changes[f"{path} a list"] = (partial(_put, [*parents, last], [1]), (shown,))
    classes = document["classes"]
    size = document["preprocessing"]["image_size"]
    coin, nobody = {"kind": "coin"}, {"kind": "threshold", "positive": "none", "threshold": 0.5}
    edits: tuple[tuple[str, str, Any, tuple[str, ...]], ...] = (
        ("a class too many", "classes", [*classes, "more"], ("classes", str(len(classes) + 1))),
        ("a class too few", "classes", classes[:-1], ("classes", str(len(classes) - 1))),
        ("a class twice", "classes", [classes[1], *classes[1:]], ("classes", classes[1])),
        ("another image size", "preprocessing.image_size", size * 2, ("image_size", str(size * 2))),
        ("image size nought", "preprocessing.image_size", 0, ("image_size", "0")),
        ("an unknown fit", "preprocessing.resize", "stretch", ("resize", "stretch")),
        ("another input", "input.name", "pixels", ("input", "pixels")),
        ("another output", "output.name", "logits", ("output", "logits")),
        ("another decision", "decision", coin, ("decision", "coin")),
        ("a threshold for no class", "decision", nobody, ("decision", "none")),
        ("another task", "task.kind", "detection", ("task.kind", "detection")),
        ("a newer schema", "schema_version", 99, ("schema version 99",)),
        ("an older schema", "schema_version", 0, ("bundle.json", "schema version 0")),
        ("a file outside", "files.**/x", "0" * 64, ("../x",)),
        ("a file that is not there", "files.x*bin", "0" * 64, ("x.bin",)),
        ("none shipped", "precisions.fp32.shipped", False, ("no fp32",)),
    )
    for name, path, value, says in edits:
        changes[name] = (partial(_put, [part.replace("*", ".") for part in path.split(".")], value), says)
    for name, (change, says) in changes.items():
        place = _copy(right, folder / f"changed-{len(list(folder.glob('*')))}")
        edited = json.loads(json.dumps(document))
        change(edited)
        _write(place, edited)
        yield _case(f"bundle: {name}", place, picture, (str(place), *says))
    for name, file, text, says in _files(right):
        place = _copy(right, folder / f"spoilt-{len(list(folder.glob('*')))}")
        (place / file).unlink()
        if text is not None:
            (place / file).write_text(text, encoding="utf-8")
        yield _case(f"bundle: {name}", place, picture, says)


def _drop(path: list[str], document: dict[str, Any]) -> None:
    for key in path[:-1]:
        document = document[key]
    del document[path[-1]]


def _put(path: list[str], value: Any, document: dict[str, Any]) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def _copy(right: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(right, place)
    return place


def _write(place: Path, document: dict[str, Any]) -> None:
    from medtune.serving.manifest import dump_manifest

    (place / FILE).write_text(dump_manifest(document), encoding="utf-8")


def _files(right: Path) -> Iterator[tuple[str, str, str | None, tuple[str, ...]]]:
    """What is spoilt, the file, its new text (None: it is gone), and what must be said."""
    for file in ("model.onnx", "sample_input.npy", "MODEL_CARD.md"):
        yield f"{file} gone", file, None, (file, "missing")
        yield f"{file} empty", file, "", (file, "damaged")
    yield "bundle.json gone", FILE, None, ("is not a bundle", FILE)
    edited = (right / FILE).read_text(encoding="utf-8").replace('"schema_version"', '"schema_version" ')
    texts = {"empty": "", "no JSON": "{", "a list": "[]", "a word": '"x"', "null": "null", "deep": "[" * 9999,
             "edited": edited, "binary": "\0\1"}  # fmt: skip
    for name, text in texts.items():
        yield f"{FILE} {name}", FILE, text, (FILE, "damaged")


def _case(name: str, place: Path, picture: Path, says: tuple[str, ...]) -> Case:
    return Case(name, "predict", (str(place), str(picture)), says)


def arrays(right: Path) -> Iterator[tuple[str, str | None]]:
    """Arrays of a wrong size, number of channels, type or rank, each with what is wrong with how it is refused."""
    import numpy as np

    from medtune.serving.bundle import Bundle, BundleError

    bundle = Bundle.load(right)
    size = bundle.image_size
    for name, shape, dtype in (
        ("size", (2, size + 1, size + 1, 3), np.uint8),
        ("width", (2, size, size - 1, 3), np.uint8),
        ("one channel", (2, size, size, 1), np.uint8),
        ("four channels", (2, size, size, 4), np.uint8),
        ("channels first", (2, 3, size, size), np.uint8),
        ("no batch", (size, size, 3), np.uint8),
        ("no channels", (2, size, size), np.uint8),
        ("a row", (size,), np.uint8),
        ("no axis", (), np.uint8),
        ("float32", (2, size, size, 3), np.float32),
        ("float64", (2, size, size, 3), np.float64),
        ("int8", (2, size, size, 3), np.int8),
        ("uint16", (2, size, size, 3), np.uint16),
        ("truth", (2, size, size, 3), np.bool_),
        ("objects", (2, size, size, 3), np.object_),
    ):
        array = np.zeros(shape, dtype)
        try:
            bundle.run(array)
            yield f"array: {name}", "was predicted"
        except BundleError as error:
            named = str(array.dtype) in str(error) and str(array.shape) in str(error)
            yield f"array: {name}", None if named else f"said {error}"
        except Exception as error:
            yield f"array: {name}", f"{type(error).__name__}: {error}"


def requests(right: Path, picture: Path) -> Iterator[tuple[str, str | None]]:
    """Requests that the service must answer with what is wrong."""
    from fastapi.testclient import TestClient

    from medtune.serving import http as serve
    from medtune.serving.bundle import Bundle

    image = picture.read_bytes()
    client = TestClient(serve.create_app(Bundle.load(right), 100_000, 3), raise_server_exceptions=False)
    part = {"content-type": "multipart/form-data"}
    for name, what, status in (
        ("no image", {"content": b"no image"}, 422),
        ("nothing", {"content": b""}, 422),
        ("a cut image", {"content": image[:50]}, 422),
        ("a large body", {"content": b"x" * 200_000}, 413),
        ("four images", {"files": [("f", (f"{n}.png", image)) for n in range(4)]}, 413),
        ("no boundary", {"content": b"x", "headers": part}, 400),
        ("no end", {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        ("JSON", {"json": {"image": [1, 2, 3]}}, 422),
    ):
        answer = client.post("/predict", **what)  # type: ignore[arg-type]
        right_way = answer.status_code == status and answer.json().get("detail")
        yield f"request: {name}", None if right_way else f"answered {answer.status_code} {answer.text[:200]}"
    for name, answer, status in (
        ("another path", client.get("/nonesuch"), 404),
        ("another way", client.get("/predict"), 405),
    ):
        yield f"request: {name}", None if answer.status_code == status else f"answered {answer.status_code}"


def words(right: Path, picture: Path, folder: Path) -> Iterator[Case]:
    """Command lines of the consumer's side that name what is not there."""
    empty = folder / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    given: tuple[str, ...]
    for command in ("predict", "verify", "serve"):
        given = (str(picture),) if command == "predict" else ()
        for name, place in (("nothing there", folder / "absent"), ("an empty folder", empty), ("a file", picture)):
            yield Case(f"{command}: {name}", command, (str(place), *given), (str(place),))
        yield Case(f"{command}: no fp16", command, (str(right), *given, "--precision", "fp16"), ("fp16", "fp32"))
        yield Case(f"{command}: fp8", command, (str(right), *given, "--precision", "fp8"), ("fp8",))
        yield Case(f"{command}: abacus", command, (str(right), *given, "--provider", "abacus"), ("abacus",))
        yield Case(f"{command}: cuda", command, (str(right), *given, "--provider", "cuda"), ("cuda",))
        yield Case(f"{command}: no words", command, (), ("BUNDLE",))
    yield Case("predict: no such image", "predict", (str(right), str(folder / "x.png")), ("x.png", "does not exist"))
    yield Case("predict: no images", "predict", (str(right), str(empty)), ("no images under", str(empty)))
    yield Case(
        "predict: --out a folder", "predict", (str(right), str(picture), "--out", str(empty)), ("--out", "folder")
    )
    out = str(folder / "absent" / "x.csv")
    yield Case("predict: --out nowhere", "predict", (str(right), str(picture), "--out", out), ("--out", out))
    for word in ("0", "-1", "x", "1.5"):
        for option in ("--batch-size", "--threads"):
            given = (str(right), str(picture), option, word)
            yield Case(f"predict: {option} {word}", "predict", given, (option,))
    for option, word in (("--port", "x"), ("--port", "99999"), ("--port", "-1"), ("--threads", "-3"),
                         ("--max-mb", "0"), ("--max-connections", "0")):  # fmt: skip
        given = (str(right), option, word)
        yield Case(f"serve: {option} {word}", "serve", given, (option,), own_process=True)
    yield Case("rollback: no target", "rollback", (str(folder / "absent"),), ("absent", "no current bundle"))
    yield Case("rollback: no such bundle", "rollback", (str(folder / "absent"), "--to", "x"), ("no current bundle",))
    yield Case("rollback: unknown scheme", "rollback", ("nonesuch://x/y",), ("nonesuch",))
