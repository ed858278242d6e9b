"""Reporting checklist (checklist.md) with the items of TRIPOD+AI and CLAIM.

MedTune fills in the items for which it has facts. Facts come from the params, the prepared data and the evaluation.
Nothing is inferred. The authors complete the other items. The text contains no patient id.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.data.class_selection import list_names
from medtune.evaluation.checklist_items import CLAIM, TRIPOD_AI, Item
from medtune.evaluation.facts import IMAGE_LEVEL_PROTOCOLS
from medtune.evaluation.metric import Metric
from medtune.evaluation.result import count_samples
from medtune.runtime.artifact import write_text
from medtune.runtime.provenance import provenance

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

FILE = "checklist.md"
UNKNOWN = "*not known to MedTune: fill in*"
_MAX_NAMES = 12
HEAD = """\
# Reporting checklists

MedTune filled in these checklists from the params, the data and the evaluation `{key}`. Check every answer before you
submit it, and complete the items marked "{unknown}". Subjects are abridged. The publications have the full wording.
"""


def write_checklist(
    path: Path,
    params: Params,
    prepared: "PreparedDataset",
    facts: Mapping[str, Any],
    test: Mapping[str, Any],
    metrics: Sequence[Metric],
    of_task: Mapping[str, str] | None = None,
) -> None:
    """Write the checklist.

    Args:
        path: file to write, checklist.md.
        params: all params.
        prepared: prepared data.
        facts: facts of the evaluation, as in the report.
        test: test metrics by name, with the attributes `value`, `lo` and `hi`.
        metrics: metrics of the task.
        of_task: answers of the task by name of the fact. They replace the general answers.
    """
    answers = {
        **_data(params, prepared, facts),
        **_model(params, facts),
        **_evaluation(params, facts, test, metrics),
        **(of_task or {}),
    }
    sections = [HEAD.format(key=facts["key"], unknown=UNKNOWN.strip("*"))]
    for title, items in (("TRIPOD+AI (Collins et al. 2024)", TRIPOD_AI), ("CLAIM (Mongan, Moy and Kahn 2020)", CLAIM)):
        sections.append(
            "\n".join([f"## {title}", "", "| item | subject | answer |", "|-|-|-|", *_rows(items, answers)])
        )
    write_text(path, "\n".join([*sections, ""]))


def _rows(items: Sequence[Item], answers: Mapping[str, str]) -> list[str]:
    return [
        f"| {number} | {subject} | {_cell(answers.get(fact or '') or UNKNOWN)} |" for number, subject, fact in items
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _sentence(text: str) -> str:
    """Return `text` with exactly one full stop at its end."""
    return f"{text.rstrip(' .')}."


def _data(params: Params, prepared: "PreparedDataset", facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers about the data, by name of the fact."""
    info, data = prepared.info, params.data
    known, classes = facts["patients_known"], prepared.classes
    patients = f"{info['n_patients']:,} patients" if known else "patients unknown"
    counts = {name: int(prepared.has(k).sum()) for k, name in enumerate(classes)}
    shown = ", ".join(f"{name}: {counts[name]:,}" for name in list(classes)[:_MAX_NAMES])
    more = f", and {len(classes) - _MAX_NAMES} more" if len(classes) > _MAX_NAMES else ""
    folds = facts["folds"]
    by_image = info["protocol"] in IMAGE_LEVEL_PROTOCOLS or info.get("leaked_patients")
    level = "patients" if known and not by_image else f"{facts['unit']}, not patients"
    origin = "taken from the data" if info["protocol"] == "column" else "assigned by MedTune"
    sites = info.get("sites")
    return {
        "source": f"{info['name']} (params: data.source={data.source}). Citation: {_sentence(info['citation'])} "
        f"Representativeness: {UNKNOWN}",
        "sites": f"Sites: {list_names(list(sites), _MAX_NAMES)}. Each site was tested with a network that was trained "
        "on the other sites."
        if sites
        else "",
        "left_out": " ".join(info["notes"][:_MAX_NAMES]) + f" Eligibility of patients: {UNKNOWN}",
        "preparation": f"Images are resized to {data.image_size} x {data.image_size} pixels (data.resize="
        f"{data.resize}) and normalized inside the network. Identical images in different splits are reported. "
        f"Known issues: {' '.join(info['faults']) or 'no issue is recorded.'}",
        "outcome": f"Classes: {list_names(list(classes), _MAX_NAMES)}"
        + (f"; positive class: {facts['positive']}" if facts.get("positive") else "")
        + f". Labels are used as in the data. How and when they were assessed: {UNKNOWN}",
        "predictors": "The pixels of one image. No clinical variables are used.",
        "sample_size": f"{info['n_images']:,} {facts['unit']}, {patients}. {facts['unit'].capitalize()} per class: "
        f"{shown}{more}. Test set: {count_samples(facts, facts)}. Rationale: {UNKNOWN}",
        "missing": f"Images that cannot be read: data.on_bad_image={data.on_bad_image}. A missing label is an error.",
        "partitions": f"Protocol {info['protocol']}: training, validation and test in {len(folds)} "
        f"fold{'s' * (len(folds) != 1)}, {origin}, seed {params.seed}. No setting is selected on test {facts['unit']}.",
        "disjoint": f"The splits are disjoint at the level of {level}.",
        "availability": f"License of the {facts['unit']}: {_sentence(info['license'] or UNKNOWN)} Access: {UNKNOWN}",
        "label_errors": _label_errors(facts) + f" Variability: {UNKNOWN}",
    }


def _label_errors(facts: Mapping[str, Any]) -> str:
    errors = facts.get("label_errors")
    if not errors:
        return ""
    return (
        f"{errors['candidates']:,} of {errors['n_images']:,} {facts['unit']} are candidates for label errors "
        "(label_errors.csv). No label was corrected automatically."
    )


def _model(params: Params, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers about the model and its training, by name of the fact."""
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
    class_weights = last.class_weights if isinstance(last.class_weights, str) else "set per class"
    return {
        "model": f"Backbone {model.backbone}, head {model.head.kind}, PEFT method: {model.peft.method}. Input: uint8 "
        f"RGB, {params.data.image_size} x {params.data.image_size}. Output: one probability per class.",
        "initialization": f"Backbone weights: {'a local file' if '/' in model.weights else model.weights}; seed "
        f"{params.seed}.",
        "training": f"Schedule {params.schedule}. {'; '.join(stages)}. result.json and params.yaml have the "
        f"augmentation and all other params. Internal validation uses the validation {facts['unit']} of each fold.",
        "selection": f"The best epoch by validation {last.monitor}. Selected stage: {facts['stage']}.",
        "imbalance": f"Class weights in the loss: {class_weights} (params: class_weights).",
        "code": f"MedTune, git revision {versions.get('git') or 'unknown'}, Python {versions['python']}; {listed}. "
        "Apache-2.0.",
        "availability_model": "ONNX bundle with bundle.json and a model card. It includes preprocessing, "
        "calibration and the decision rule.",
        "poor_input": "Files that cannot be decoded and images with the wrong bit depth or range are rejected with "
        "a reason. Every other image gets a class, even if it shows no class.",
    }


def _evaluation(
    params: Params, facts: Mapping[str, Any], test: Mapping[str, Any], metrics: Sequence[Metric]
) -> dict[str, str]:
    """Return the answers about the evaluation, by name of the fact."""
    shown = [metric for metric in metrics if metric.name in test]
    person = "patients" if facts["patients_known"] else facts["unit"]
    external, subgroups = facts.get("external_test"), facts.get("subgroups") or []
    results = "; ".join(f"{metric.title} {_entry(test[metric.name])}" for metric in shown)
    sets = facts.get("prediction_sets", {})
    abstention = (
        f" Prediction sets (requested coverage {sets['requested_coverage']:g}): observed "
        f"{sets['coverage']['value']:.3f}."
        if "coverage" in sets
        else ""
    )
    by = list_names([document["column"] for document in subgroups], _MAX_NAMES)
    return {
        "objectives": "Development with internal evaluation"
        + (f" and evaluation on external {facts['unit']}" if external else "")
        + f". Hypotheses: {UNKNOWN}",
        "measures": ", ".join(metric.title for metric in shown) + ".",
        "uncertainty": f"{100 * params.evaluate.confidence:g} % intervals over {person}. "
        "The trained networks are held fixed.",
        "results": f"Test, {facts['percent']} % intervals: {results}.{abstention}",
        "prediction": "One forward pass per image. Probabilities are calibrated on validation images "
        f"(evaluate.calibration={params.evaluate.calibration}).",
        "decision": f"Probabilities. The decision uses evaluate.threshold={params.evaluate.threshold}, selected on "
        "validation data. metrics.json has the rule of each fold.",
        "subgroups": f"The report has metrics and gaps by {by}." if subgroups else "",
        "external": f"External test: {count_samples(external, facts)}. See the "
        f"report. Differences from the training data: {UNKNOWN}"
        if external
        else f"No external {facts['unit']} were evaluated.",
        "ensembling": "metrics.json and bundle.json state which networks of the folds are exported.",
        "errors": "The report shows the most confident errors, the confusion matrix and the fraction of correct "
        f"images per patient. Interpretation: {UNKNOWN}",
        "limitations": " ".join([*facts["warnings"], f"Further limitations: {UNKNOWN}"]),
    }


def _entry(interval: Any) -> str:
    if interval.value is None:
        return "undefined"
    between = "" if interval.lo is None else f" ({interval.lo:.3f} to {interval.hi:.3f})"
    return f"{interval.value:.3f}{between}"
