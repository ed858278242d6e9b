"""Pickles that run code, wherever a file is loaded; ONNX weights that lie elsewhere; YAML that makes objects.

A pickle here makes a folder, the canary, when it is unpickled: that each one does is tried first. Where a digest
stands before the file it is made right, as somebody would who rewrites both.
"""

from pathlib import Path
from typing import Any

from torture.outcome import Outcome

NUMBER = 6
TITLE = "pickles that run code, as weights, arrays, bundles and caches; ONNX external data"
TARGET = "nothing executed; no fallback path"


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """All of them; of the payloads every sixth in the small form."""
    return {"all": {"every": 1}} if full else {"few": {"every": 6}}


def inject(folder: Path, every: int) -> Outcome:
    """Gives each payload to each reader in each form that it may have there."""
    from torture.hostile import payloads
    from torture.hostile.pickle_readers import readers

    outcome, canary = Outcome(), folder / "canary"
    made = payloads.payloads(canary)
    for name, payload in made.items():
        if not payloads.live(payload, canary):
            outcome.count(name, "runs nothing even where it is unpickled: it tests nothing")
    for reader in readers(folder / "files"):
        for form in reader.forms:
            for name in list(made)[::every]:
                fault = _given(reader.read, form(made[name]), canary)
                outcome.count(f"{reader.name}: {name} as {form.__name__}", fault)
    _external(folder, made["eval 2"], canary, outcome)
    _params(folder, canary, outcome)
    return outcome


def _given(read: Any, content: Any, canary: Path) -> str | None:
    """What went wrong when `read` was given `content`, or None."""
    from medtune.config.errors import InputError
    from medtune.serving.manifest import BundleError

    try:
        fault = read(content)
    except (InputError, BundleError, RuntimeError) as error:
        fault = None if "\n" not in str(error) else f"told in several lines: {error}"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    if canary.exists():
        canary.rmdir()
        return "EXECUTED"
    return fault


def _external(folder: Path, payload: bytes, canary: Path, outcome: Outcome) -> None:
    from medtune.serving.bundle import Bundle
    from torture.hostile.external_data import models
    from torture.hostile.tiny_bundle import write_bundle

    place = folder / "external" / "bundle"

    def read(content: bytes) -> str:
        Bundle.load(write_bundle(place, content), threads=1)
        return "loaded"

    for name, content in models(place, payload):
        outcome.count(f"ONNX external data {name}", _given(read, content, canary))


def _params(folder: Path, canary: Path, outcome: Outcome) -> None:
    from medtune.config.load import load
    from torture.hostile.external_data import params_files

    file = folder / "params.yaml"

    def read(text: str) -> str:
        file.write_text(text, encoding="utf-8")
        load(file)
        return "read"

    for name, text in params_files(canary):
        outcome.count(f"params file with {name}", _given(read, text, canary))
