"""The ONNX bundle of the best fold's network: written, compared with the network itself, then published."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from config import cli, load
from config import key as keys
from config.artifact import Artifact, file_sha256, find, partial, publish, write_text
from config.errors import InputError
from config.lock import holding
from config.schema import Params
from config.settings import Paths, device_class
from config.versions import installed, provenance
from handoff.document import BundleError
from stages.ready import ready

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from evaluation.trial import Trial
    from models.classifier import Classifier

FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}
TOOLS = ("onnx", "onnxscript", "onnxruntime-gpu", "numpy", "pillow", "jinja2")
SAMPLES = 4
# Evaluate's figures come from the device that trained; a GPU adds up in another order.
CONSUMER_TOLERANCE = {"cpu": 1e-4}
GPU_TOLERANCE = 1e-3
# The fp16 file itself, beside its emulation, is tried on so many images.
FEW = 32


def key(params: Params, evaluated: Artifact, trained: Sequence[Artifact]) -> str:
    """Cache key of the bundle; export runs on the CPU, whatever trained the network."""
    inputs = {
        "evaluated": [evaluated.key, evaluated.sha256],
        "trained": [artifact.sha256 for artifact in trained],
        "tools": installed(*TOOLS),
    }
    return keys.stage_key("export", params, inputs, "cpu")


def run(
    params: Params, paths: Paths, evaluated: Artifact, trained: Sequence[Artifact], key: str, group: str
) -> Artifact:
    """The bundle at artifacts/export, of the fold that evaluate found best.

    Args:
        params: all params.
        paths: where things lie.
        evaluated: what evaluate published.
        trained: one trained artifact a chain, those that were evaluated.
        key: from `key`.
        group: of the W&B run.

    Raises:
        RuntimeError: the fp32 graph does not say what the network says, or not what evaluate wrote down.
    """
    folder = paths.stage("export")
    if done := find(folder, key):
        return done
    from datasets.manifest import load_prepared
    from evaluation import card, facts
    from evaluation.trial import Trial
    from handoff.bundle import Bundle
    from handoff.document import FILE, serialise
    from models.deploy import Deployed, to_onnx
    from tracking.run import start
    from training.checkpoint import load_trained

    prepared = load_prepared(paths.prepared)
    record = evaluated.result()
    fold = int(record["best_fold"])
    chosen = next(artifact for artifact in trained if artifact.result()["fold"] == fold)
    metrics = json.loads((evaluated.folder / "metrics.json").read_text(encoding="utf-8"))
    work = partial(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start("export", key, group, params, f"export fold {fold}") as tracked:
        cli.say(f"export: the network of fold {fold} as ONNX, opset {params.export.opset}")
        network: Classifier = load_trained(chosen)  # type: ignore[assignment]
        model = Deployed(network, record["folds"][str(fold)]["temperature"])
        normalization = network.mean.tolist(), network.std.tolist()
        document = facts.gather(params, prepared, evaluated, chosen, metrics, normalization, key)
        fp32 = to_onnx(model, params.data.image_size, params.export.opset, _properties(document))
        trial = Trial.of(model, prepared, fold, document["decision"], params.export.parity_images)
        for precision in params.export.precisions:
            _add(work, document, precision, fp32, trial, params)

        bundle = Bundle(work, document, "fp32", _session((work / FILES["fp32"]).read_bytes()))
        document["parity"]["fp32"]["consumer"] = trial.against_predictions(
            bundle.predict, evaluated.folder / "predictions.csv", CONSUMER_TOLERANCE.get(device_class(), GPU_TOLERANCE)
        )
        samples = trial.samples(SAMPLES)
        np.save(work / "sample_input.npy", samples, allow_pickle=False)
        np.save(work / "sample_output.npy", bundle.predict(samples), allow_pickle=False)
        write_text(work / "MODEL_CARD.md", card.render(document))
        document["files"] = {path.name: file_sha256(path) for path in sorted(work.iterdir())}
        write_text(work / FILE, serialise(document))
        Bundle.load(work).self_test()
        result = {"stage": "export", "fold": fold, "parity": document["parity"], "data_digest": prepared.digest,
                  "params": document["params"], "provenance": provenance()}  # fmt: skip
        artifact = publish(folder, key, result)
        shipped = [name for name, entry in document["precisions"].items() if entry["shipped"]]
        tracked.summary({f"parity/{name}": document["parity"][name]["max_abs_diff"] for name in shipped})
        tracked.bundle(folder, "bundle", {"key": key, "fold": fold, "classes": document["classes"]})
    said = ", ".join(
        f"{name} (within {document['parity'][name]['max_abs_diff']:.0e} of the network)" for name in shipped
    )
    cli.say(f"export: {said} in {folder}")
    return artifact


def _add(
    work: Path, document: dict[str, Any], precision: str, fp32: "onnx.ModelProto", trial: "Trial", params: Params
) -> None:
    """Writes one precision's file where its parity allows, and says in `document` what was found."""
    from models.half import to_half

    entry: dict[str, Any] = {"file": FILES[precision], "shipped": False, "reason": None}
    document["precisions"][precision], document["parity"][precision] = entry, None
    try:
        graph = (fp32 if precision == "fp32" else to_half(fp32)).SerializeToString()
        # onnxruntime's CPU computes fp16 graphs in fp32: what a GPU would give is measured on an emulation.
        measured = graph if precision == "fp32" else to_half(fp32, emulate=True).SerializeToString()
        figures, entry["reason"] = trial.judge(_predictor(measured), precision, params.export)
        if measured is not graph:
            on_cpu, refused = trial.first(FEW).judge(_predictor(graph), precision, params.export)
            entry["reason"] = entry["reason"] or refused
            figures |= {"measured_on": "fp16 arithmetic emulated, sums in fp32", "file_on_cpu": on_cpu}
        document["parity"][precision] = figures
    except (ValueError, BundleError) as error:  # not convertible, or onnxruntime refuses the result
        entry["reason"] = str(error)
    if entry["reason"] is None:
        (work / entry["file"]).write_bytes(graph)
        entry["shipped"] = True
    elif precision == "fp32":
        raise RuntimeError(f"export: the ONNX graph does not match the trained network: {entry['reason']}")
    else:
        cli.say(f"export: {precision} is not shipped: {entry['reason']}")


def _session(graph: bytes) -> "onnxruntime.InferenceSession":
    from handoff.bundle import open_session

    return open_session(graph, "the exported graph", "cpu", "fp32")


def _predictor(graph: bytes) -> Callable[[np.ndarray], np.ndarray]:
    session = _session(graph)
    return lambda images: session.run(None, {"images": images})[0]


def _properties(document: dict[str, Any]) -> dict[str, str]:
    """What the ONNX file itself says, for those who get it without its folder."""
    return {
        "project": "medtune",
        "notice": document["notice"],
        "classes": json.dumps(document["classes"]),
        "decision": json.dumps(document["decision"]),
        "resize": document["preprocessing"]["resize"],
        "data_digest": document["data_digest"],
        "key": document["key"],
    }


def main(params: cli.ParamsFile = None, sets: cli.Sets = None, out: cli.Out = None) -> None:
    """Write the ONNX bundle of the best fold's network to artifacts/export."""
    from stages import evaluate

    read, paths = load.load(params, sets or ()), Paths.at(out)
    with holding(paths):
        prepared = ready(read, paths)
        trained = evaluate.find_trained(read, paths, prepared)
        evaluated = find(paths.stage("evaluate"), evaluate.key(read, prepared, trained))
        if evaluated is None:
            raise InputError("these networks are not evaluated: run `python -m stages.evaluate` first")
        cli.say(f"export: {run(read, paths, evaluated, trained, key(read, evaluated, trained), 'by-hand').path}")


if __name__ == "__main__":
    cli.run(main)
