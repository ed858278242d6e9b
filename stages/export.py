"""Stage export: export of the final model to an ONNX bundle, with parity checks against the PyTorch networks."""

import json
import shutil
from collections.abc import Sequence
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
    from medtune.export.ensemble import Ensemble

# Largest difference between the bundle and the predictions of stage evaluate. These may come from a GPU, which sums in
# another order.
CONSUMER_TOLERANCE = {"cpu": 1e-4}
GPU_TOLERANCE = 1e-3


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Export one graph, which averages the calibrated outputs of all folds or contains one refit network.

    Args:
        params: all params.
        paths: where to read and write.
        fold: must be None, because all folds are exported together.

    Returns:
        The artifact artifacts/export with the ONNX bundle.

    Raises:
        InputError: the folds are not trained and evaluated yet.
        RuntimeError: outputs of the fp32 graph differ from the networks or from the predictions of stage evaluate.
    """
    steps = Steps(params, paths)
    step = steps.resolve("export", fold)
    if step.artifact is not None:
        return step.artifact
    from medtune.evaluation.checklist import FILE as CHECKLIST
    from medtune.evaluation.cross_validation import PREDICTIONS_FILE
    from medtune.export import bundle_manifest, model_card
    from medtune.export.ensemble import Ensemble, Member
    from medtune.export.onnx_graph import to_onnx
    from medtune.export.parity_check import ParityCheck
    from medtune.export.precisions import FILES, N_SAMPLES, PrecisionExporter, session
    from medtune.serving.bundle import Bundle
    from medtune.serving.manifest import MANIFEST_FILE, dump_manifest
    from medtune.serving.members import MEMBERS
    from medtune.tracking import lineage
    from medtune.tracking.run import start_run
    from medtune.training.checkpoint import load_trained

    (evaluated, *trained), prepared = step.upstream, steps.prepared
    folder, key, record = paths.stage("export"), step.key, evaluated.result()
    folds = [int(artifact.result()["fold"]) for artifact in trained]
    refit, tested = params.final == "refit", params.data.split.trained_folds
    metrics = json.loads((evaluated.folder / "metrics.json").read_text(encoding="utf-8"))
    work = partial_dir(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start_run("export", key, steps.group, params, "export") as tracked:
        lineage.log_inputs(tracked, prepared, trained)
        task = base.export(params.task.kind)
        networks = [load_trained(artifact) for artifact in trained]
        normalization = networks[0].mean.tolist(), networks[0].std.tolist()
        rules = [record["refit"] if refit else record["folds"][str(fold)] for fold in folds]
        document = bundle_manifest.build_manifest(
            params, prepared, evaluated, trained, rules, metrics, normalization, key
        )
        decision_layer = getattr(task, "decision_layer", None)
        model = Ensemble(
            [Member(network, task.output_layer(rule)) for network, rule in zip(networks, rules, strict=True)],
            None if document["output"]["name"] == MEMBERS else document["output"]["name"],
            decision_layer(document) if decision_layer else None,
        )
        console.info(f"export: {_describe(model)} as ONNX, opset {params.export.opset}")
        fp32 = to_onnx(model, params.data.image_size, params.export.opset, _properties(document), model.names)
        parity = ParityCheck.build(model, prepared, tested, document, params.export.parity_images)
        exporter = PrecisionExporter(fp32, parity, lambda: calibration(params, prepared, folds), params.export)
        for precision in params.export.precisions:
            exporter.export(work, document, precision)

        external = document["precisions"]["fp32"].get("external_data", [])
        bundle = Bundle(work, document, "fp32", session((work / FILES["fp32"]).read_bytes(), work, external))
        predictions = evaluated.folder / PREDICTIONS_FILE
        if not refit:  # a refit network has seen all patients, so it has no test predictions
            document["parity"]["fp32"]["consumer"] = parity.compare_with_predictions(
                bundle.run_members,
                folds,
                predictions if predictions.exists() else evaluated.folder / "predictions.csv",
                CONSUMER_TOLERANCE.get(device_class(), GPU_TOLERANCE),
            )
        samples = parity.samples(N_SAMPLES)
        np.save(work / "sample_input.npy", samples, allow_pickle=False)
        np.save(work / "sample_output.npy", bundle.run(samples), allow_pickle=False)
        write_text(work / "MODEL_CARD.md", model_card.render_card(document))
        shutil.copyfile(evaluated.folder / CHECKLIST, work / CHECKLIST)
        document["files"] = {path.name: file_sha256(path) for path in sorted(work.iterdir())}
        write_text(work / MANIFEST_FILE, dump_manifest(document))
        for name in [name for name, entry in document["precisions"].items() if entry["shipped"]]:
            Bundle.load(work, name).self_test()
        result = {"stage": "export", "final": document["exported"]["final"], "folds": tested,
                  "parity": document["parity"], "data_digest": prepared.digest,
                  "params": document["params"], "provenance": provenance()}  # fmt: skip
        artifact = commit(folder, key, result)
        shipped = [name for name, entry in document["precisions"].items() if entry["shipped"]]
        tracked.summary({f"parity/{name}": document["parity"][name]["max_abs_diff"] for name in shipped})
        lineage.log_bundle(tracked, artifact)
    precisions = ", ".join(
        f"{name} (largest difference from the network: {document['parity'][name]['max_abs_diff']:.0e})"
        for name in shipped
    )
    console.info(f"export: {precisions} in {folder}")
    return artifact


def _describe(model: "Ensemble") -> str:
    members, backbones = len(model.heads), len(model.networks)
    if members == 1:
        return "the network"
    return f"the mean of {members} networks with {backbones} backbone{'s' if backbones > 1 else ''}"


def calibration(params: Params, prepared: "PreparedDataset", folds: Sequence[int]) -> np.ndarray:
    """Select random training images for the calibration of int8, balanced over the classes.

    Args:
        params: all params.
        prepared: the prepared data.
        folds: test folds of the exported networks.

    Returns:
        Images, uint8 (n, H, W, 3).
    """
    from medtune.export.parity import stratified_sample

    indices = np.unique(np.concatenate([prepared.indices(fold)["train"] for fold in folds]))
    train = np.random.default_rng(params.seed).permutation(indices)
    return np.ascontiguousarray(
        prepared.images[stratified_sample(prepared.labels, train, params.export.calibration_images)]
    )


def _properties(document: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of the ONNX file, for users who receive it without the bundle."""
    return {
        "project": "medtune",
        "notice": document["notice"],
        **{name: json.dumps(document[name]) for name in ("task", "classes", "decision") if name in document},
        "resize": document["preprocessing"]["resize"],
        "data_digest": document["data_digest"],
        "key": document["key"],
    }
