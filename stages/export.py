"""The ONNX bundle of the best fold's network: written, compared with the network itself, then published."""

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import Params
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, file_sha256, partial_dir, write_text
from medtune.runtime.device import device_class
from medtune.runtime.paths import RunPaths
from medtune.runtime.provenance import provenance
from medtune.stages.steps import Steps
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier

# Evaluate's figures come from the device that trained; a GPU adds up in another order.
CONSUMER_TOLERANCE = {"cpu": 1e-4}
GPU_TOLERANCE = 1e-3


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Export the network of the fold that evaluate found best.

    Args:
        params: all params.
        paths: where to read and write.
        fold: always None: evaluate chooses it.

    Returns:
        The ONNX bundle at artifacts/export.

    Raises:
        InputError: the folds that the params name are not trained and evaluated yet.
        RuntimeError: the fp32 graph does not say what the network says, or not what evaluate wrote down.
    """
    steps = Steps(params, paths)
    step = steps.resolve("export", fold)
    if step.artifact is not None:
        return step.artifact
    from medtune.evaluation.checklist import FILE as CHECKLIST
    from medtune.export import bundle_manifest, model_card
    from medtune.export.onnx_graph import to_onnx
    from medtune.export.parity_check import ParityCheck
    from medtune.export.precisions import FILES, N_SAMPLES, PrecisionExporter, session
    from medtune.serving.bundle import Bundle
    from medtune.serving.manifest import MANIFEST_FILE, dump_manifest
    from medtune.tracking import lineage
    from medtune.tracking.run import start_run
    from medtune.training.checkpoint import load_trained

    (evaluated, *trained), prepared = step.upstream, steps.prepared
    folder, key, record = paths.stage("export"), step.key, evaluated.result()
    fold = int(record["best_fold"])
    chosen = next(artifact for artifact in trained if artifact.result()["fold"] == fold)
    metrics = json.loads((evaluated.folder / "metrics.json").read_text(encoding="utf-8"))
    work = partial_dir(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start_run("export", key, steps.group, params, f"export fold {fold}", fold) as tracked:
        lineage.log_inputs(tracked, prepared, [chosen])
        console.info(f"export: the network of fold {fold} as ONNX, opset {params.export.opset}")
        network: Classifier = load_trained(chosen)  # type: ignore[assignment]
        model = base.export(params.task.kind).module(network, record["folds"][str(fold)])
        normalization = network.mean.tolist(), network.std.tolist()
        document = bundle_manifest.build_manifest(params, prepared, evaluated, chosen, metrics, normalization, key)
        size, opset = params.data.image_size, params.export.opset
        fp32 = to_onnx(model, size, opset, _properties(document), document["output"]["name"])
        trial = ParityCheck.build(model, prepared, fold, document, params.export.parity_images)
        maker = PrecisionExporter(fp32, trial, lambda: calibration(params, prepared, fold), params.export)
        for precision in params.export.precisions:
            maker.export(work, document, precision)

        external = document["precisions"]["fp32"].get("external_data", [])
        bundle = Bundle(work, document, "fp32", session((work / FILES["fp32"]).read_bytes(), work, external))
        document["parity"]["fp32"]["consumer"] = trial.compare_with_predictions(
            bundle.run, evaluated.folder / "predictions.csv", CONSUMER_TOLERANCE.get(device_class(), GPU_TOLERANCE)
        )
        samples = trial.samples(N_SAMPLES)
        np.save(work / "sample_input.npy", samples, allow_pickle=False)
        np.save(work / "sample_output.npy", bundle.run(samples), allow_pickle=False)
        write_text(work / "MODEL_CARD.md", model_card.render_card(document))
        shutil.copyfile(evaluated.folder / CHECKLIST, work / CHECKLIST)
        document["files"] = {path.name: file_sha256(path) for path in sorted(work.iterdir())}
        write_text(work / MANIFEST_FILE, dump_manifest(document))
        for name in [name for name, entry in document["precisions"].items() if entry["shipped"]]:
            Bundle.load(work, name).self_test()
        result = {"stage": "export", "fold": fold, "parity": document["parity"], "data_digest": prepared.digest,
                  "params": document["params"], "provenance": provenance()}  # fmt: skip
        artifact = commit(folder, key, result)
        shipped = [name for name, entry in document["precisions"].items() if entry["shipped"]]
        tracked.summary({f"parity/{name}": document["parity"][name]["max_abs_diff"] for name in shipped})
        lineage.log_bundle(tracked, artifact)
    said = ", ".join(
        f"{name} (within {document['parity'][name]['max_abs_diff']:.0e} of the network)" for name in shipped
    )
    console.info(f"export: {said} in {folder}")
    return artifact


def calibration(params: Params, prepared: "PreparedDataset", fold: int) -> np.ndarray:
    """Training images of the fold for int8, uint8 (n, H, W, 3): as many of each class, drawn at random within it."""
    from medtune.export.parity import stratified_sample

    train = np.random.default_rng(params.seed).permutation(prepared.indices(fold)["train"])
    return np.ascontiguousarray(
        prepared.images[stratified_sample(prepared.labels, train, params.export.calibration_images)]
    )


def _properties(document: dict[str, Any]) -> dict[str, str]:
    """What the ONNX file itself says, for those who get it without its folder."""
    return {
        "project": "medtune",
        "notice": document["notice"],
        **{name: json.dumps(document[name]) for name in ("task", "classes", "decision") if name in document},
        "resize": document["preprocessing"]["resize"],
        "data_digest": document["data_digest"],
        "key": document["key"],
    }
