"""Files that exist before a job: weights, model stores, fold assignments, the data of the champion."""

import shutil
from functools import partial
from types import SimpleNamespace

import torch
from safetensors.torch import load_file

from medtune.data.fold_assignments import read_assignments
from medtune.flows import promotion
from medtune.models import classifier, hub, weights
from medtune.registry.git_dvc import CommandError
from medtune.registry.rollback import rollback
from medtune.registry.store import open_store
from medtune.registry.store_layout import HISTORY
from medtune.runtime.cache_key import weights_sha256
from tests.robustness import job
from tests.robustness.damage.faults import Target, files_under
from tests.robustness.tiny_bundle import write_bundle
from tests.robustness.weight_files import with_weights, write_hub_cache

BUNDLED = weights.SHIPPED
FILE = BUNDLED / "test_vit.safetensors"


def bundled_weights(folder, monkeypatch):
    monkeypatch.setattr(weights, "SHIPPED", shutil.copytree(BUNDLED, folder / "bundled"))

    def read(file):
        return weights.read_weights("bundled", file.stem), weights.read_shipped_metadata(file.stem)

    return Target(files_under(weights.SHIPPED), read)


def user_weights(folder, monkeypatch):
    """Weights without a checksum. A flipped bit may give other valid weights if these have another cache key."""
    files = [folder / "user.safetensors", folder / "user.pth"]
    shutil.copy(FILE, files[0])
    torch.save(load_file(FILE), files[1])
    params = {file: with_weights(file) for file in files}
    original = {file: (file.stat().st_size, weights_sha256(params[file])) for file in files}

    def read(file):
        classifier.build(params[file], 2)
        size, sha256 = original[file]
        return file.stat().st_size != size or weights_sha256(params[file]) == sha256

    return Target(files, read)


def hub_weights(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    blob = write_hub_cache(folder, "owner/name", "model.safetensors", FILE.read_bytes())
    return Target([blob], lambda _: hub.check_cached({"hf_hub_id": "owner/name"}))


def model_store(folder, monkeypatch, scheme):
    """A store with two accepted bundles. A deleted history is noticed in git only."""
    store, champion = open_store(f"{scheme}{folder / 'store'}", folder), None
    for name in ("one", "two"):
        store.upload(write_bundle(folder / name, gate={"champion": champion}), name)
        store.set_current(name)
        entry = {"time": "2026-01-01T00:00:00", "decision": "promoted", "challenger": name, "champion": champion}
        store.append_history(entry)
        champion = name

    def read(file):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        if file.name == HISTORY:
            return store.history() != [] or file.exists()
        if file.parent.name == "one":
            return rollback(store, None, "damage", folder / "cache")
        return store.fetch(store.current(), folder / "cache")

    return Target(files_under(folder / "store"), read)


def fold_assignments(folder, monkeypatch):
    """data/folds.csv. Its deletion is noticed in git only."""
    path = folder / "folds.csv"
    read_assignments(path, "folder", 5).write(path, [f"p{k}" for k in range(40)], [k % 5 for k in range(40)])
    return Target([path], lambda _: bool(read_assignments(path, "folder", 5).fold_by_hash) or path.exists())


def champion_manifest(folder, monkeypatch):
    """manifest.csv and result.json of the champion's data, as DVC returns them."""
    prepared = job.prepare(folder, job.params()).prepared
    original = (prepared / "manifest.csv").read_text()

    def read_revision(tag, path):
        if not (folder / path).exists():
            raise CommandError(path)
        return (folder / path).read_text(errors="replace")

    def read(_):
        try:
            return promotion._manifest(SimpleNamespace(read_revision=read_revision), "one") != original
        except CommandError:
            return None

    return Target([prepared / "manifest.csv", prepared / "result.json"], read)


# By name: a function of (folder, monkeypatch) that writes the files.
TARGETS = {
    "bundled weights": bundled_weights,
    "weights of a user": user_weights,
    "weights in the hub's cache": hub_weights,
    "model store": partial(model_store, scheme=""),
    "model store behind a URL": partial(model_store, scheme="file://"),
    "data/folds.csv": fold_assignments,
    "manifest of the champion": champion_manifest,
}
