"""Content of bundle.json, collected from the artifacts of the exported networks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.data.slide_dataset import by_slide
from medtune.evaluation.result import unit
from medtune.export.model_card import NOTICE
from medtune.runtime.artifact import Artifact
from medtune.runtime.cache_key import weights_sha256
from medtune.runtime.provenance import provenance
from medtune.serving.manifest import SCHEMA_VERSION
from medtune.serving.members import MEMBERS, REFIT
from medtune.serving.onnxruntime_version import minimum_for
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Fields of `rules` that bundle.json contains per network: the calibration and the decision rule.
MEMBER_KEYS = ("temperature", "scale", "offset", "decision")


def build_manifest(
    params: Params,
    prepared: "PreparedDataset",
    evaluated: Artifact,
    trained: Sequence[Artifact],
    rules: Sequence[dict[str, Any]],
    metrics: dict[str, Any],
    fields: Mapping[str, Any],
    key: str,
) -> dict[str, Any]:
    """Return the content of bundle.json. Export later adds the parity, the precisions and the checksums of the files.

    Args:
        params: all params.
        prepared: prepared data.
        evaluated: artifact of stage evaluate.
        trained: artifacts of the exported networks, in the order of the output `members` of the graph.
        rules: calibration and decision rule of each network, from result.json of stage evaluate.
        metrics: content of metrics.json of stage evaluate.
        fields: entries that describe the input, from `InputExport.fields`.
        key: cache key of the export.

    Returns:
        JSON values.
    """
    record = evaluated.result()
    prepared = by_slide(prepared) if prepared.slide_of_tile else prepared
    folds = [int(artifact.result()["fold"]) for artifact in trained]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": f"{prepared.info['name']}: {params.model.backbone}, {params.model.head.kind}",
        "notice": NOTICE,
        "task": params.section("task"),
        **fields,
        "requires": {"onnxruntime": minimum_for(params.export.opset)},
        **base.export(params.task.kind).describe(prepared, rules, record["decision"], params.data.image_size),
        **prediction_rules(metrics),
        "precisions": {},
        "parity": {},
        "exported": {
            "final": metrics["final"]["kind"],
            "stage": "+".join(sorted({artifact.result()["kept"] for artifact in trained}, reverse=True)),
            "test_folds": record["test_folds"],
            "evaluate_key": evaluated.key,
        },
        MEMBERS: [
            {
                # The test fold of the network. A refit network was trained on all images and has no test fold.
                "fold": None if fold == REFIT else fold,
                "stage": artifact.result()["kept"],
                "choices": artifact.result().get("choices", {}),
                "source_key": artifact.key,
                "source_sha256": artifact.sha256,
                **{name: value for name, value in rule.items() if name in MEMBER_KEYS},
            }
            for fold, artifact, rule in zip(folds, trained, rules, strict=True)
        ],
        "data": {
            "name": prepared.info["name"],
            "license": prepared.info["license"],
            "citation": prepared.info["citation"],
            "protocol": prepared.info["protocol"],
            "n_images": prepared.info["n_images"],
            **({"unit": "slides", "n_tiles": prepared.info["n_tiles"]} if "n_tiles" in prepared.info else {}),
            **({"unit": unit(prepared.info)} if prepared.has_volumes else {}),
            "n_patients": prepared.info["n_patients"],
            "patients_known": prepared.info["patients_known"],
            "counts": class_counts(prepared, folds),
            # Bundles are passed to other people, so they must not contain patient ids.
            "n_leaked_patients": len(prepared.info["leaked_patients"]),
            # The warnings of the metrics already report leakage.
            "faults": [*prepared.info["faults"], *(n for n in prepared.info["notes"] if not n.startswith("LEAK"))],
        },
        "data_digest": prepared.digest,
        "protocol": prepared.info["protocol"],
        "weights": weights_info(params),
        "metrics": metrics,
        "params": params.model_dump(mode="json", exclude={"gate", "handoff"}),  # handoff may contain private paths
        "versions": provenance(),
        "key": key,
    }


def prediction_rules(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the rules that stage evaluate calibrated: for prediction sets, and for decisions per patient.

    A rule that was not calibrated is omitted.
    """
    rules = {}
    calibration = metrics.get("prediction_sets", {}).get("calibration", {})
    if "min_probability" in calibration:
        rules["prediction_sets"] = calibration
    patients = metrics.get("patient_level", {})
    if "decision" in patients:
        rules["patient_level"] = {name: patients[name] for name in ("score", "decision")}
    return rules


def class_counts(prepared: "PreparedDataset", folds: Sequence[int]) -> dict[str, dict[str, int]]:
    """Count the images per class: in total, and per split (train, val, test) if there is only one test fold."""
    splits = prepared.indices(folds[0]) if len(folds) == 1 and folds[0] != REFIT else {}
    counts = {}
    for index, name in enumerate(prepared.classes):
        members = prepared.has(index)
        counts[name] = {
            "all": int(members.sum()),
            **{split: int(members[rows].sum()) for split, rows in splits.items()},
        }
    return counts


def weights_info(params: Params) -> dict[str, str]:
    """Return the name, digest, source and license of the pretrained weights."""
    import timm

    from medtune.models.weights import read_shipped_metadata

    model = params.model
    facts = {"backbone": model.backbone, "digest": weights_sha256(params)}
    if model.weights == "bundled":
        card = read_shipped_metadata(model.backbone)
        return facts | {"source": card.get("source", "bundled"), "license": card.get("license") or "not stated"}
    if model.weights == "none":
        return facts | {"source": "none: trained from random weights", "license": "not required"}
    if model.weights == "hub":
        pretrained = timm.get_pretrained_cfg(model.backbone)
        return facts | {
            "source": f"hub {pretrained.hf_hub_id or pretrained.url}" if pretrained else "hub",
            "license": (pretrained.license if pretrained else None) or "not stated",
        }
    return facts | {"source": f"file {model.weights.rsplit('/', 1)[-1]}", "license": "not stated: a local file"}
