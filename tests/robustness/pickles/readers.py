"""Functions that write a file with correct digests and read it with the code of MedTune. See `reading.problem`."""

import shutil
from functools import partial

import numpy as np

from medtune.data.manifest import load_prepared
from medtune.data.sources.medmnist import Params, list_samples
from medtune.evaluation import outputs
from medtune.models import classifier
from medtune.models.compatibility import check_model
from medtune.runtime.artifact import RESULT_FILE, Artifact, commit, file_sha256, partial_dir
from medtune.serving.bundle import Bundle
from medtune.serving.checksum import add_bytes_checksum
from medtune.serving.manifest import MANIFEST_FILE, dump_manifest, read_manifest
from medtune.training.checkpoint import load_trained
from medtune.training.feature_store import load_shards
from tests.robustness import job
from tests.robustness.pickles.payloads import ALL, ARRAYS, TORCH, plain, torch_legacy, torch_zip
from tests.robustness.tiny_bundle import write_bundle
from tests.robustness.weight_files import with_weights, write_hub_cache

HUB_MODEL = "test_vit.r160_in1k"


def weights(folder, content, suffix):
    path = folder / f"weights{suffix}"
    path.write_bytes(content)
    return classifier.build(with_weights(path), 2)


def weights_in_doctor(folder, content):
    path = folder / "weights.pth"
    path.write_bytes(content)
    return check_model(with_weights(path))["weights_fault"] is None


def hub_weights(folder, content):
    write_hub_cache(folder, f"timm/{HUB_MODEL}", "pytorch_model.bin", content)
    return classifier.build(job.params({"model": {"weights": "hub", "backbone": HUB_MODEL}}), 2)


def prepared_images(folder, content):
    prepared = folder / "data" / "prepared"
    if not prepared.exists():
        job.prepare(folder, job.params())
    shutil.copytree(prepared, partial_dir(prepared), ignore=shutil.ignore_patterns(RESULT_FILE, "samples"))
    publish(prepared, {"images.npy": content})
    return load_prepared(prepared)


def trained_network(folder, content):
    params = job.params().model_dump(mode="json")
    files = {"model.safetensors": content}
    return load_trained(publish(folder / "trained", files, classes=["a", "b"], params=params))


def medmnist(folder, content):
    path = folder / "set.npz"
    path.write_bytes(content)
    return [record.read() for record in list_samples(path, Params(root=str(path))) if record.read]


def features(folder, content, name):
    np.save(folder / "valid.npy", np.arange(3))
    valid = (folder / "valid.npy").read_bytes()
    publish(folder / "view" / "0000", {"rows.npy": valid, "features.npy": valid, name: content})
    return load_shards(folder / "view", "key")[0] or None


def logits(folder, content):
    rows = {split: np.arange(2) for split in outputs.SPLITS}
    request = outputs.OutputsRequest(1, Artifact(str(folder), "k", "s"), rows, "key")
    (folder / "logits").mkdir(exist_ok=True)
    (folder / "logits" / "key.npz").write_bytes(add_bytes_checksum(content))
    return outputs.load_outputs(request, folder)


def bundle(folder, content, name):
    write_bundle(folder)
    (folder / name).write_bytes(content)
    if name != MANIFEST_FILE:
        document = read_manifest(folder)
        document["files"][name] = file_sha256(folder / name)
        (folder / MANIFEST_FILE).write_text(dump_manifest(document), encoding="utf-8")
    Bundle.load(folder, threads=1).self_test()
    return True


def publish(folder, files, **result):
    partial_dir(folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (partial_dir(folder) / name).write_bytes(content)
    return commit(folder, "key", result)


# By name: formats, and a function of (folder, content).
READERS = {
    "weights .pth": (ALL, partial(weights, suffix=".pth")),
    "weights .safetensors": (ALL, partial(weights, suffix=".safetensors")),
    "weights in medtune.doctor": ((plain, torch_zip), weights_in_doctor),
    "weights in the hub's cache": ((plain, torch_zip, torch_legacy), hub_weights),
    "prepared images": (ARRAYS, prepared_images),
    "trained network": (TORCH, trained_network),
    "medmnist": (ARRAYS, medmnist),
    "rows of the feature store": (ARRAYS, partial(features, name="rows.npy")),
    "features of the feature store": (ARRAYS, partial(features, name="features.npy")),
    "logits": (ARRAYS, logits),
    "model of a bundle": (ARRAYS, partial(bundle, name="model.onnx")),
    "manifest of a bundle": (ARRAYS, partial(bundle, name=MANIFEST_FILE)),
    "sample input of a bundle": (ARRAYS, partial(bundle, name="sample_input.npy")),
    "sample output of a bundle": (ARRAYS, partial(bundle, name="sample_output.npy")),
}
