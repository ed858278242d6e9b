"""Weights, handoff targets and kept folds, with everyone who reads them: what needs no training."""

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

from medtune.config.project import PACKAGE
from torture import job
from torture.damaged.place import Place, files_of, seen

BACKBONE = "test_vit"


def places(folder: Path) -> list[Place]:
    """Copies under `folder`, and where the product looks for them."""
    target = _published(folder / "target")
    return [
        _bundled(folder / "bundled"),
        _own_weights(folder / "weights"),
        _hub(folder / "hub"),
        _target(folder, str(target), "target"),
        _target(folder, f"file://{_published(folder / 'far')}", "target behind a URL"),
        _folds(folder / "folds.csv"),
        _champion(folder / "champion"),
    ]


def _bundled(folder: Path) -> Place:
    """Shipped weights and their cards, in a copy."""
    from medtune.models import weights

    shutil.copytree(PACKAGE / "models" / "bundled", folder)

    def use(file: Path, harm: str) -> str | None:
        real, weights.SHIPPED = weights.SHIPPED, folder
        try:
            weights.read_weights("bundled", file.stem)
            weights.read_shipped_metadata(file.stem)
        finally:
            weights.SHIPPED = real
        return "loaded"

    return Place("shipped weights", files_of(folder), use)


def _own_weights(folder: Path) -> Place:
    """A user's own file, of which nobody knows what it was.

    A file that is cut or gone must be refused. So must a flipped one that no longer reads; one that does cannot be
    told from other weights, but nothing that was made with it may pass for what the whole file made: the key changes.
    """
    import torch
    from safetensors.torch import load_file

    from medtune.models import classifier
    from medtune.runtime.cache_key import weights_sha256

    folder.mkdir()
    shutil.copy(PACKAGE / "models" / "bundled" / f"{BACKBONE}.safetensors", folder / "own.safetensors")
    torch.save(load_file(folder / "own.safetensors"), folder / "own.pth")
    params = {
        file.name: job.params({"model": {"weights": str(file), "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3}}})
        for file in files_of(folder)
    }
    known = {name: weights_sha256(one) for name, one in params.items()}

    def use(file: Path, harm: str) -> str | None:
        changed = weights_sha256(params[file.name]) != known[file.name]
        classifier.build(params[file.name], 2)
        return seen(harm == "flip" and changed, "loaded")

    return Place("a user's own weights", files_of(folder), use)


def _hub(folder: Path) -> Place:
    """Weights in the model hub's cache, laid out as the hub's own library does."""
    import os

    from medtune.models import hub

    content = (PACKAGE / "models" / "bundled" / f"{BACKBONE}.safetensors").read_bytes()
    place = folder / "models--owner--name"
    blob = place / "blobs" / hashlib.sha256(content).hexdigest()
    for parent in (blob.parent, place / "refs", place / "snapshots" / "abc"):
        parent.mkdir(parents=True)
    blob.write_bytes(content)
    (place / "refs" / "main").write_text("abc")
    (place / "snapshots" / "abc" / "model.safetensors").symlink_to(os.path.relpath(blob, place / "snapshots" / "abc"))
    cfg = {"hf_hub_id": "owner/name"}

    def use(file: Path, harm: str) -> str | None:
        from huggingface_hub import constants, file_download

        real = constants.HF_HUB_CACHE
        constants.HF_HUB_CACHE = file_download.constants.HF_HUB_CACHE = str(folder)
        try:
            there = hub.check_cached(cfg)
        finally:
            constants.HF_HUB_CACHE = file_download.constants.HF_HUB_CACHE = real
        return seen(not there, "taken from the cache")  # absent: fetched anew

    return Place("weights in the hub's cache", [blob], use)


def _published(folder: Path) -> Path:
    """A target with two accepted bundles."""
    from medtune.registry.store import open_store
    from torture.hostile.tiny_bundle import write_bundle

    url = folder.name == "far"
    target, before = open_store(f"file://{folder}" if url else str(folder), folder), None
    for name in ("one", "two"):
        made = write_bundle(folder.with_name(f"{folder.name}-{name}"), gate={"champion": before})
        target.upload(made, name)
        target.set_current(name)
        target.append_history(
            {"time": "2026-01-01T00:00:00", "decision": "promoted", "challenger": name, "champion": before}
        )
        before = name
    return folder


def _target(base: Path, address: str, name: str) -> Place:
    from medtune.registry.rollback import rollback
    from medtune.registry.store import open_store
    from medtune.registry.store_layout import HISTORY
    from medtune.serving.bundle import Bundle

    target = open_store(address, base)
    folder = Path(address.removeprefix("file://"))

    def use(file: Path, harm: str) -> str | None:
        cache = base / "fetched"
        shutil.rmtree(cache, ignore_errors=True)
        if file.name == HISTORY:
            return seen(target.history() == [] and harm == "delete", "history read")
        if file.parent.name == "one":
            rollback(target, None, "torture", cache)
            return "gone back to"
        current = target.current()
        assert current is not None
        Bundle.load(target.fetch(current, cache), threads=1)
        return "loaded"

    return Place(name, files_of(folder), use)


def _folds(path: Path) -> Place:
    from medtune.data import fold_assignments

    names = [f"p{number}" for number in range(40)]
    fold_assignments.read_assignments(path, "folder", 5).write(path, names, [number % 5 for number in range(40)])

    def use(file: Path, harm: str) -> str | None:
        found = fold_assignments.read_assignments(path, "folder", 5).fold_by_hash
        return seen(harm == "delete" and not found, "read")  # gone: the deal begins anew, and git tells of it

    return Place("data/folds.csv", [path], use)


def _champion(folder: Path) -> Place:
    """manifest.csv and result.json of the accepted model's data, as DVC hands them out."""
    from medtune.flows import promotion
    from medtune.registry.git_dvc import CommandError

    paths = job.prepare(folder, job.params())
    files = [paths.prepared / name for name in ("manifest.csv", "result.json")]

    def read_revision(tag: str, path: str) -> str:
        try:
            return (folder / path).read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise CommandError(str(error)) from None

    def use(file: Path, harm: str) -> str | None:
        known = (paths.prepared / "manifest.csv").read_bytes() if file.name == "result.json" else b""
        try:
            found = promotion._manifest(SimpleNamespace(read_revision=read_revision), "one")  # type: ignore[arg-type]
        except CommandError:
            return None
        return seen(found.encode() == known, "read")  # of the record only the manifest's sha256 is used

    return Place("the champion's manifest", files, use)
