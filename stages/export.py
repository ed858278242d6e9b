"""Stage export: export of the final model to an ONNX bundle.

The parity check compares the outputs of the ONNX graph with those of the PyTorch networks.
"""

import json
import shutil
from typing import Any

import numpy as np

from medtune.config.schema import Params
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, file_sha256, partial_dir, write_text
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import running
from medtune.runtime.provenance import provenance
from medtune.stages.steps import Steps
from medtune.tasks import base


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Export one ONNX graph.

    The graph averages the calibrated outputs of the networks of all folds. With `final=refit`, it contains only the
    network that was trained on all images.

    Args:
        params: all params.
        paths: where to read and write.
        fold: must be None, because all folds are exported together.

    Returns:
        The artifact artifacts/export with the ONNX bundle.

    Raises:
        InputError: the folds are not trained and evaluated yet.
        RuntimeError: outputs of the fp32 graph differ from the networks or from the predictions of stage evaluate.
        ValueError: `fold` is not None.
    """
    steps = Steps(params, paths)
    step = steps.resolve("export", fold)
    if step.artifact is not None:
        return step.artifact
    from medtune.evaluation.checklist import FILE as CHECKLIST
    from medtune.export import bundle_manifest, model_card
    from medtune.export.ensemble import Member
    from medtune.export.input_export import input_export
    from medtune.export.onnx_graph import to_onnx
    from medtune.export.precisions import FILES, N_SAMPLES, PrecisionExporter, session
    from medtune.serving.manifest import MANIFEST_FILE, dump_manifest
    from medtune.serving.samples import INPUT_FILE, OUTPUT_FILE
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
        parts = input_export(params, prepared, networks, evaluated.folder)
        rules = [record["refit"] if refit else record["folds"][str(fold)] for fold in folds]
        document = bundle_manifest.build_manifest(
            params, prepared, evaluated, trained, rules, metrics, parts.fields(folds, record["decision"]), key
        )
        model: Any = parts.combine(
            [Member(network, task.output_layer(rule)) for network, rule in zip(networks, rules, strict=True)], document
        )
        with running(f"export: {model.description} as ONNX, opset {params.export.opset}"):
            fp32 = to_onnx(model, parts.source, params.export.opset, _properties(document), model.names)
        parity = parts.check(model, tested, document)
        exporter = PrecisionExporter(fp32, parity, lambda: parts.calibration(folds), params.export)
        for precision in params.export.precisions:
            with running(f"export: {precision}, compared with the trained network"):
                exporter.export(work, document, precision)

        external = document["precisions"]["fp32"].get("external_data", [])
        bundle = parts.open(work, document, session((work / FILES["fp32"]).read_bytes(), work, external))
        # A refit network has seen all patients, so it has no test predictions.
        compared = None if refit else parts.compare_predictions(parity, bundle, folds, evaluated)
        if compared is not None:
            document["parity"]["fp32"]["consumer"] = compared
        samples = parity.samples(N_SAMPLES)
        np.save(work / INPUT_FILE, samples, allow_pickle=False)
        np.save(work / OUTPUT_FILE, bundle.run(samples), allow_pickle=False)
        write_text(work / "MODEL_CARD.md", model_card.render_card(document))
        shutil.copyfile(evaluated.folder / CHECKLIST, work / CHECKLIST)
        document["files"] = {path.name: file_sha256(path) for path in sorted(work.iterdir())}
        write_text(work / MANIFEST_FILE, dump_manifest(document))
        for name in [name for name, entry in document["precisions"].items() if entry["shipped"]]:
            parts.load(work, name).self_test()
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


def _properties(document: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of the ONNX file, for users who receive it without the bundle."""
    return {
        "project": "medtune",
        "notice": document["notice"],
        **{name: json.dumps(document[name]) for name in ("task", "classes", "decision", "volumes") if name in document},
        **({"resize": document["preprocessing"]["resize"]} if "preprocessing" in document else {}),
        "data_digest": document["data_digest"],
        "key": document["key"],
    }
