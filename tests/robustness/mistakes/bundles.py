"""Damaged or inconsistent bundles, and arrays, requests and options that a bundle does not accept."""

import copy
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from medtune.serving import http
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError, dump_manifest
from medtune.serving.manifest_fields import REQUIRED
from tests.robustness.faults import Faults
from tests.robustness.mistakes.mistake import Mistake, Words, mistakes

BUNDLE = "out/artifacts/export"
IMAGE = "image.png"
ABSENT = object()
DETAILS = (
    "task kind", "input name", "output name", "preprocessing image_size", "preprocessing resize", "decision kind",
    "precisions fp32", "precisions fp32 file", "precisions fp32 shipped", "files model.onnx",
)  # fmt: skip
Change = tuple[str, Any, tuple[str, ...]]


def changes(classes: list[str], image_size: int) -> Iterator[Change]:
    """Yield key in bundle.json (its parts separated by blanks), new value and expected texts."""
    for key, value in itertools.product((*REQUIRED, "classes", "decision"), (ABSENT, None, 7, [], "x")):
        yield key, value, (key,)
    for key, value in itertools.product(DETAILS, (ABSENT, [1])):
        section = key.split()[0]
        yield key, value, (section if section in ("decision", "files", "precisions") else key.replace(" ", "."),)
    threshold = {"kind": "threshold", "positive": "none", "threshold": 0.5}
    yield from (
        ("classes", [*classes, "more"], ('"more"',)),
        ("classes", classes[:-1], (json.dumps(classes[:-1]),)),
        ("classes", [classes[1], *classes[1:]], ("classes", classes[1])),
        ("preprocessing image_size", image_size * 2, ("image_size", str(image_size * 2))),
        ("preprocessing image_size", 0, ("image_size", "0")),
        ("preprocessing resize", "stretch", ("resize", "stretch")),
        ("input name", "pixels", ("input", "pixels")),
        ("output name", "logits", ("output", "logits")),
        ("decision", {"kind": "coin"}, ("decision", "coin")),
        ("decision", threshold, ("decision", "none")),
        ("task kind", "detection", ("task.kind", "detection")),
        ("schema_version", 99, ("schema version 99",)),
        ("schema_version", 0, ("bundle.json", "schema version 0")),
        ("files ../x", "0" * 64, ("../x",)),
        ("files x.bin", "0" * 64, ("x.bin",)),
        ("precisions fp32 shipped", False, ('"shipped" is false',)),
    )


def damages(manifest: str) -> Iterator[tuple[str, str | None, tuple[str, ...]]]:
    """Yield file, new content (None: deleted) and expected texts."""
    for name in ("model.onnx", "sample_input.npy", "MODEL_CARD.md"):
        yield name, None, (name, "missing")
        yield name, "", (name, "damaged")
    yield "bundle.json", None, ("is not a bundle", "bundle.json")
    edited = manifest.replace('"schema_version"', '"schema_version" ')
    for content in ("", "{", "[]", '"x"', "null", "[" * 9999, edited, "\0\1"):
        yield "bundle.json", content, ("bundle.json", "damaged")


def bundles(folder: Path) -> Iterator[Mistake]:
    """Yield predictions with changed and damaged bundles."""
    manifest = (folder / BUNDLE / "bundle.json").read_text(encoding="utf-8")
    document = json.loads(manifest)
    for key, value, expected in changes(document["classes"], document["preprocessing"]["image_size"]):
        changed = copy.deepcopy(document)
        *parents, last = key.split()
        section = reduce(dict.__getitem__, parents, changed)
        if value is ABSENT:
            del section[last]
        else:
            section[last] = value
        name = "absent" if value is ABSENT else repr(value)
        bundle = copy_bundle(folder, f"{key}-{name}")
        (folder / bundle / "bundle.json").write_text(dump_manifest(changed), encoding="utf-8")
        yield Mistake("predict", (bundle, IMAGE), (bundle, *expected))
    for name, content, expected in damages(manifest):
        bundle = copy_bundle(folder, f"{name}-{content}")
        (folder / bundle / name).unlink()
        if content is not None:
            (folder / bundle / name).write_text(content, encoding="utf-8")
        yield Mistake("predict", (bundle, IMAGE), expected)


def copy_bundle(folder: Path, name: str) -> str:
    """Copy the bundle and return the relative path of the copy."""
    copies = folder / "bundles"
    n_copies = len(list(copies.glob("*")))
    path = copies / f"{n_copies}-{re.sub('[^a-z0-9]+', '-', name[:50])}"
    shutil.copytree(folder / BUNDLE, path)
    return path.relative_to(folder).as_posix()


def options(folder: Path) -> Iterator[Mistake]:
    """Yield invalid arguments of the commands that use a bundle."""
    (folder / "empty").mkdir(exist_ok=True)
    for command in ("predict", "verify", "serve"):
        image = (IMAGE,) if command == "predict" else ()
        paths: dict[tuple[str, ...], Words] = {(path, *image): path for path in ("absent", "empty", IMAGE)}
        yield from mistakes(command, paths | {
            (): "BUNDLE",
            (BUNDLE, *image, "--precision", "fp16"): ("fp16", "fp32"),
            (BUNDLE, *image, "--precision", "fp8"): "fp8",
            (BUNDLE, *image, "--provider", "abacus"): "abacus",
            (BUNDLE, *image, "--provider", "cuda"): "cuda",
        })  # fmt: skip
    yield from mistakes("predict", {
        "absent.png": ("absent.png", "does not exist"),
        "empty": ("no images under", "empty"),
        (IMAGE, "--out", "empty"): ("--out", "folder"),
        (IMAGE, "--out", "absent/x.csv"): ("--out", "absent/x.csv"),
        **{(IMAGE, option, value): option
           for option in ("--batch-size", "--threads") for value in ("0", "-1", "x", "1.5")},
    }, BUNDLE)  # fmt: skip
    for option, value in (
        ("--port", "x"), ("--port", "99999"), ("--port", "-1"), ("--threads", "-3"), ("--max-mb", "0"),
        ("--max-connections", "0"),
    ):  # fmt: skip
        yield Mistake("serve", (BUNDLE, option, value), (option,), in_process=False)
    yield from mistakes("rollback", {
        "absent": "TARGET=absent: no such folder",
        ("absent", "--to", "x"): "TARGET=absent: no such folder",
        "empty": ("empty", "no current bundle"),
        "nonesuch://x/y": "nonesuch",
    })  # fmt: skip


def send_arrays(faults: Faults, bundle: Bundle) -> None:
    """Predict arrays of a wrong shape or type. The error must contain both."""
    size = bundle.image_size
    right = (2, size, size, 3)
    shapes = (
        (2, size + 1, size + 1, 3), (2, size, size - 1, 3), (2, size, size, 1), (2, size, size, 4), (2, 3, size, size),
        (size, size, 3), (2, size, size), (size,), (),
    )  # fmt: skip
    types = (np.float32, np.float64, np.int8, np.uint16, np.bool_, np.object_)
    for array in (*(np.zeros(shape, np.uint8) for shape in shapes), *(np.zeros(right, dtype) for dtype in types)):
        try:
            bundle.run(array)
            problem: str | None = "was predicted"
        except BundleError as error:
            complete = str(array.dtype) in str(error) and str(array.shape) in str(error)
            problem = None if complete else f"incomplete message: {error}"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        faults.count(f"array {array.shape} {array.dtype}", problem)


def send_requests(faults: Faults, bundle: Bundle, image: bytes) -> None:
    """Send invalid requests to the service. It must answer with the status and an explanation."""
    client = TestClient(http.create_app(bundle, 100_000, 3), raise_server_exceptions=False)
    form = "multipart/form-data"
    requests: tuple[tuple[int, str, dict[str, Any]], ...] = (
        (422, "/predict", {"content": b"no image"}),
        (422, "/predict", {"content": b""}),
        (422, "/predict", {"content": image[:50]}),
        (413, "/predict", {"content": b"x" * 200_000}),
        (413, "/predict", {"files": [("f", (f"{i}.png", image)) for i in range(4)]}),
        (400, "/predict", {"content": b"x", "headers": {"content-type": form}}),
        (400, "/predict", {"content": b"--b\r\n", "headers": {"content-type": f"{form}; boundary=b"}}),
        (422, "/predict", {"json": {"image": [1, 2, 3]}}),
        (404, "/nonesuch", {}),
        (405, "/predict", {"method": "GET"}),
    )
    for status, path, request in requests:
        response = client.request(**{"method": "POST", "url": path, **request})
        answered = response.status_code == status and response.json().get("detail")
        problem = None if answered else f"status {response.status_code}, expected {status}: {response.text[:200]}"
        faults.count(f"request {path} {str(request)[:80]}", problem)
