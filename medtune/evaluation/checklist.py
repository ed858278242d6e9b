"""checklist.md: items of TRIPOD+AI and CLAIM, filled in with what MedTune knows of a run; the rest is for the authors.

Facts come from params, the prepared data and the evaluation; nothing is inferred. The text names no patient.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.data.class_selection import list_names
from medtune.evaluation.checklist_items import CLAIM, TRIPOD_AI, Item
from medtune.evaluation.facts import IMAGE_LEVEL_PROTOCOLS
from medtune.evaluation.metric import Metric
from medtune.runtime.artifact import write_text
from medtune.runtime.provenance import provenance

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

FILE = "checklist.md"
UNKNOWN = "*not known to MedTune: fill in*"
_SHOWN = 12
HEAD = """\
# Reporting checklists

Filled in by MedTune from the params, the data and the evaluation `{key}`. Read every answer before you submit it, and
complete the items marked "{unknown}". Subjects are abridged; the publications have the full wording.
"""


def write_checklist(
    path: Path,
    params: Params,
    prepared: "PreparedDataset",
    facts: Mapping[str, Any],
    test: Mapping[str, Any],
    metrics: Sequence[Metric],
) -> None:
    """Write the checklist.

    Args:
        path: checklist.md.
        params: all params.
        prepared: the data.
        facts: of the evaluation, as in the report.
        test: interval of each metric of the test images by name, with `value`, `lo` and `hi`.
        metrics: of the task.
    """
    answers = {
        **_data(params, prepared, facts),
        **_model(params, facts),
        **_evaluation(params, facts, test, metrics),
    }
    parts = [HEAD.format(key=facts["key"], unknown=UNKNOWN.strip("*"))]
    for title, items in (("TRIPOD+AI (Collins et al. 2024)", TRIPOD_AI), ("CLAIM (Mongan, Moy and Kahn 2020)", CLAIM)):
        parts.append("\n".join([f"## {title}", "", "| item | subject | answer |", "|-|-|-|", *_rows(items, answers)]))
    write_text(path, "\n".join([*parts, ""]))


def _rows(items: Sequence[Item], answers: Mapping[str, str]) -> list[str]:
    return [
        f"| {number} | {subject} | {_cell(answers.get(fact or '') or UNKNOWN)} |" for number, subject, fact in items
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _data(params: Params, prepared: "PreparedDataset", facts: Mapping[str, Any]) -> dict[str, str]:
    info, data = prepared.info, params.data
    known, classes = facts["groups_known"], prepared.classes
    patients = f"{info['n_groups']:,} patients" if known else "patients unknown"
    counts = {name: int(prepared.has(k).sum()) for k, name in enumerate(classes)}
    shown = ", ".join(f"{name}: {counts[name]:,}" for name in list(classes)[:_SHOWN])
    more = f", and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
    folds = facts["folds"]
    by_image = info["protocol"] in IMAGE_LEVEL_PROTOCOLS or info.get("leaked_groups")
    level = "patients" if known and not by_image else "images, not patients"
    drawn = "taken from the data" if info["protocol"] == "column" else "drawn by MedTune"
    sites = info.get("sites")
    return {
        "source": f"{info['name']} (params: data.source={data.source}). {info['citation']}. Representativeness: "
        + UNKNOWN,
        "sites": f"Sites: {list_names(list(sites), _SHOWN)}; each was tested by networks trained on the others."
        if sites
        else "",
        "left_out": " ".join(info["notes"][:_SHOWN]) + f" Eligibility of patients: {UNKNOWN}",
        "preparation": f"Images are resized to {data.image_size} x {data.image_size} pixels (data.resize="
        f"{data.resize}) and normalized inside the network. Identical images in different splits are reported. "
        f"Known faults: {' '.join(info['faults']) or 'none recorded.'}",
        "outcome": f"Classes: {list_names(list(classes), _SHOWN)}"
        + (f"; positive class: {facts['positive']}" if facts.get("positive") else "")
        + f". Labels as in the data. How and when they were assessed: {UNKNOWN}",
        "predictors": "The pixels of one image; no clinical variables.",
        "sample_size": f"{info['n_images']:,} {facts['unit']}, {patients}. Images per class: {shown}{more}. Tested: "
        f"{facts['n_images']:,} {facts['unit']} of {facts['n_groups']:,} {'patients' if known else 'images'}. "
        f"Rationale: {UNKNOWN}",
        "missing": f"Images that cannot be read: data.on_bad_image={data.on_bad_image}. Missing labels are refused.",
        "partitions": f"Protocol {info['protocol']}: training, validation and test in {len(folds)} "
        f"fold{'s' * (len(folds) != 1)}, {drawn}, seed {params.seed}. Test images are used for no choice.",
        "disjoint": f"Disjoint by {level}.",
        "availability": f"Licence of the images: {info['licence'] or UNKNOWN}. Access: {UNKNOWN}",
        "label_errors": _label_errors(facts) + f" Variability: {UNKNOWN}",
    }


def _label_errors(facts: Mapping[str, Any]) -> str:
    found = facts.get("label_errors")
    if not found:
        return ""
    return (
        f"{found['candidates']:,} of {found['n_images']:,} {facts['unit']} are candidates for label errors "
        "(label_errors.csv); none was corrected automatically."
    )


def _model(params: Params, facts: Mapping[str, Any]) -> dict[str, str]:
    model, versions = params.model, provenance()
    stages = [
        f"{name}: {section.epochs} epochs, {section.optimizer}, learning rate {section.lr}, batch size "
        f"{section.batch_size}, weight decay {section.weight_decay:g}, class weights {section.class_weights}"
        for name in params.training_stages
        for section in [getattr(params, name)]
    ]
    last = getattr(params, params.training_stages[-1])
    packages = versions["packages"]
    listed = ", ".join(f"{name} {version}" for name, version in packages.items()) if isinstance(packages, dict) else ""
    weights = [last.class_weights] if isinstance(last.class_weights, str) else ["given per class"]
    return {
        "model": f"Backbone {model.backbone}, head {model.head.kind}, trained part: {model.peft.method}. Input: uint8 "
        f"RGB, {params.data.image_size} x {params.data.image_size}. Output: one probability per class.",
        "initialization": f"Backbone weights: {'a local file' if '/' in model.weights else model.weights}; seed "
        f"{params.seed}.",
        "training": f"Schedule {params.schedule}. {'; '.join(stages)}. Augmentation and all other params: result.json "
        "and params.yaml. Internal validation: validation images of each fold.",
        "selection": f"The best epoch by validation {last.monitor}. Weights kept: {facts['stage']}.",
        "imbalance": f"Class weights in the loss: {', '.join(weights)} (params: class_weights).",
        "code": f"MedTune, git revision {versions.get('git') or 'unknown'}, Python {versions['python']}; {listed}. "
        "Apache-2.0.",
        "availability_model": "ONNX bundle with bundle.json and a model card; preprocessing, calibration and decision "
        "are part of it.",
        "poor_input": "Files that cannot be decoded are refused with the reason, and so are images of the wrong "
        "bit depth or range. Every other image gets a class, also one that shows none of them.",
    }


def _evaluation(
    params: Params, facts: Mapping[str, Any], test: Mapping[str, Any], metrics: Sequence[Metric]
) -> dict[str, str]:
    shown = [metric for metric in metrics if metric.name in test]
    person = "patients" if facts["groups_known"] else "images"
    external, subgroups = facts.get("external_test"), facts.get("subgroups") or []
    results = "; ".join(f"{metric.title} {_entry(test[metric.name])}" for metric in shown)
    sets = facts.get("prediction_sets", {})
    abstention = (
        f" Prediction sets (requested coverage {sets['requested_coverage']:g}): observed "
        f"{sets['coverage']['value']:.3f}."
        if "coverage" in sets
        else ""
    )
    by = list_names([one["column"] for one in subgroups], _SHOWN)
    return {
        "objectives": "Development with internal evaluation"
        + (" and evaluation on external images" if external else "")
        + f". Hypotheses: {UNKNOWN}",
        "measures": ", ".join(metric.title for metric in shown) + ".",
        "uncertainty": f"{100 * params.evaluate.confidence:g} % intervals over {person}; the network is held fixed.",
        "results": f"Test, {facts['percent']} % intervals: {results}.{abstention}",
        "prediction": "One forward pass per image; probabilities are calibrated on validation images "
        f"(evaluate.calibration={params.evaluate.calibration}).",
        "decision": f"Probabilities; decision by evaluate.threshold={params.evaluate.threshold}, chosen on validation "
        "data. metrics.json has the rule of each fold.",
        "subgroups": f"Metrics and gaps by {by}: see the report." if subgroups else "",
        "external": f"External test images: {external['n_images']:,} of {external['n_groups']:,} {person}; see the "
        f"report. Differences from the training data: {UNKNOWN}"
        if external
        else "No external images were evaluated.",
        "ensembling": "metrics.json and bundle.json state which networks of the folds are exported.",
        "errors": "The report shows the most confident mistakes, the confusion of classes and the share of correct "
        f"images per patient. Interpretation: {UNKNOWN}",
        "limitations": " ".join([*facts["warnings"], f"Further limitations: {UNKNOWN}"]),
    }


def _entry(interval: Any) -> str:
    if interval.value is None:
        return "undefined"
    between = "" if interval.lo is None else f" ({interval.lo:.3f} to {interval.hi:.3f})"
    return f"{interval.value:.3f}{between}"
