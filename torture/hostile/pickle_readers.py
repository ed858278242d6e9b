"""Everyone in the product who loads a file that could be a pickle: each must refuse it, and run nothing."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.runtime.artifact import RESULT_FILE, Artifact, commit, file_sha256, find_artifact, partial_dir, read_result
from medtune.serving.checksum import dump_with_checksum
from torture import job
from torture.hostile.payloads import FORMS, npy, npz, plain, torch_legacy, torch_zip

Form = Callable[[bytes], bytes]
HUB = "test_vit.r160_in1k"


@dataclass(frozen=True)
class Reader:
    """One way in.

    Attributes:
        name: who reads what.
        forms: how a pickle may be dressed there.
        read: (content) -> None where it was taken for absent; else what was done with it.
    """

    name: str
    forms: tuple[Form, ...]
    read: Callable[[bytes], str | None]


def readers(folder: Path) -> list[Reader]:
    """All of them, on files under `folder`."""
    folder.mkdir(exist_ok=True)
    arrays = (npy, plain, npz)
    return [
        *(Reader(f"weights {suffix}", FORMS, _weights(folder, suffix)) for suffix in (".pth", ".safetensors")),
        Reader("medtune.doctor's look at weights", (plain, torch_zip), _fits(folder)),
        Reader("weights in the hub's cache", (plain, torch_zip, torch_legacy), _hub(folder / "hub")),
        Reader("data/prepared images.npy", arrays, _prepared(folder / "job")),
        Reader("trained network", FORMS[:4], _trained(folder)),
        Reader("medmnist .npz", (npz, plain, npy), _medmnist(folder)),
        *(Reader(f"feature store {name}", arrays, _features(folder, name)) for name in ("rows.npy", "features.npy")),
        Reader("logits", (npz, plain, npy), _logits(folder)),
        *(
            Reader(f"bundle {name}", arrays, _bundle(folder, name))
            for name in ("sample_input.npy", "sample_output.npy", "model.onnx", "bundle.json")
        ),
    ]


def _weights(folder: Path, suffix: str) -> Callable[[bytes], str | None]:
    from medtune.models import classifier

    path = folder / f"weights{suffix}"
    normal = {"normalization": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    params = job.params({"model": {"weights": str(path), **normal}})

    def read(content: bytes) -> str | None:
        path.write_bytes(content)
        classifier.build(params, 2)
        return "loaded"

    return read


def _fits(folder: Path) -> Callable[[bytes], str | None]:
    from medtune.models.compatibility import check_model

    path = folder / "looked-at.pth"
    params = job.params({"model": {"weights": str(path)}})

    def read(content: bytes) -> str | None:
        path.write_bytes(content)
        return None if check_model(params)["weights_fault"] else "found fit"

    return read


def _hub(folder: Path) -> Callable[[bytes], str | None]:
    """The hub's cache holds a pytorch_model.bin, and there is no connection."""
    from huggingface_hub import constants

    from medtune.models import classifier

    place = folder / f"models--timm--{HUB}"
    for parent in (place / "blobs", place / "refs", place / "snapshots" / "abc"):
        parent.mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    params = job.params({"model": {"weights": "hub", "backbone": HUB}})

    def read(content: bytes) -> str | None:
        (place / "snapshots" / "abc" / "pytorch_model.bin").write_bytes(content)
        before = constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE
        constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = str(folder), True
        try:
            classifier.build(params, 2)
        finally:
            constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = before
        return "loaded"

    return read


def _prepared(folder: Path) -> Callable[[bytes], str | None]:
    from medtune.data.manifest import load_prepared

    paths = job.prepare(folder, job.params())

    def read(content: bytes) -> str | None:
        _replace(paths.prepared, "images.npy", content)
        load_prepared(paths.prepared)
        return "loaded"

    return read


def _trained(folder: Path) -> Callable[[bytes], str | None]:
    from medtune.training.checkpoint import load_trained

    def read(content: bytes) -> str | None:
        params = job.params().model_dump(mode="json")
        load_trained(_made(folder / "trained", {"model.safetensors": content}, classes=["a", "b"], params=params))
        return "loaded"

    return read


def _medmnist(folder: Path) -> Callable[[bytes], str | None]:
    from medtune.data.sources import medmnist

    path = folder / "set.npz"

    def read(content: bytes) -> str | None:
        path.write_bytes(content)
        records = medmnist.list_samples(path, medmnist.Params(root=str(path)))
        return f"{[record.read() for record in records if record.read]}"

    return read


def _features(folder: Path, name: str) -> Callable[[bytes], str | None]:
    import io

    import numpy as np

    from medtune.training import feature_store

    view = folder / f"view-{name}"
    good = io.BytesIO()
    np.save(good, np.arange(3))

    def read(content: bytes) -> str | None:
        view.mkdir(exist_ok=True)
        files = {one: good.getvalue() for one in ("rows.npy", "features.npy")}
        made = _made(view / "0000", {**files, name: content})
        return f"{len(found)} parts read" if (found := feature_store.load_shards(view, made.key)[0]) else None

    return read


def _logits(folder: Path) -> Callable[[bytes], str | None]:
    import numpy as np

    from medtune.evaluation import outputs as logits
    from medtune.serving.checksum import add_bytes_checksum

    wanted = logits.OutputsRequest(
        1, Artifact(str(folder), "k", "s"), {role: np.arange(2) for role in logits.SPLITS}, "key"
    )

    def read(content: bytes) -> str | None:
        place = folder / "logits" / "key.npz"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(add_bytes_checksum(content))
        return None if logits.load_outputs(wanted, folder) is None else "loaded"

    return read


def _bundle(folder: Path, name: str) -> Callable[[bytes], str | None]:
    from medtune.serving.bundle import Bundle
    from torture.hostile.tiny_bundle import write_bundle

    def read(content: bytes) -> str | None:
        place = write_bundle(folder / f"bundle-{name}")
        (place / name).write_bytes(content)
        if name != "bundle.json":
            resign(place)
        Bundle.load(place, threads=1).self_test()
        return "loaded"

    return read


def resign(bundle: Path) -> None:
    """Writes bundle.json anew, so that every digest in it is right."""
    from medtune.serving.manifest import MANIFEST_FILE, dump_manifest, read_manifest

    document = read_manifest(bundle)
    files = {one: file_sha256(bundle / one) for one in document["files"]}
    (bundle / MANIFEST_FILE).write_text(dump_manifest({**document, "files": files}), encoding="utf-8")


def _made(folder: Path, files: Mapping[str, bytes], **result: Any) -> Artifact:
    shutil.rmtree(partial_dir(folder), ignore_errors=True)
    partial_dir(folder).mkdir(parents=True)
    for name, content in files.items():
        (partial_dir(folder) / name).write_bytes(content)
    return commit(folder, "key", result)


def _replace(folder: Path, name: str, content: bytes) -> None:
    """Puts another file into a finished artifact, with every digest right."""
    (folder / name).write_bytes(content)
    result = read_result(folder)
    result["files"][name] = file_sha256(folder / name)
    (folder / RESULT_FILE).write_text(dump_with_checksum(result), encoding="utf-8")
    assert find_artifact(folder) is not None
