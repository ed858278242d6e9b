"""What is exported says what was trained: every method on every backbone it fits, merged, in onnxruntime.

The reference is the adapted network itself, before merging, in PyTorch. fp16 is judged twice: as fp16 arithmetic rounds
(medtune/export/fp16.py's emulation) and as onnxruntime's CPU computes the file. Every changed decision counts,
toss-ups too.
"""

import copy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from torture.networks.adapted import BACKBONES, CLASSES, TEMPERATURE, adapted, methods, params_of, pictures, pretrained
from torture.outcome import Outcome

NUMBER = 9
TITLE = "ONNX parity of every method x backbone x batch size, fp32 and fp16"
TARGET = (
    "batches of 1, 2, 7, 32: fp32 <= 1e-4, argmax 100 %; fp16 <= 2e-2, argmax >= 99.9 %, metric drop <= 0.1 pt; no NaN"
)
FP32, FP16 = 1e-4, 2e-2
CHANGED = {"fp32": 0.0, "fp16": 0.001}
DROP = 0.001
SIZE, LEARNT_ON = 64, 384
BATCHES = (1, 2, 7, 32)
TOGETHER = 8


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Some methods of one family."""
    if not full:
        return {"vit": {"family": "vit", "names": ["vpt"], "images": 64}}
    found = {}
    for family in BACKBONES:
        names = methods(family)
        for first in range(0, len(names), TOGETHER):
            some = names[first : first + TOGETHER]
            found[f"{family}-{some[0]}-to-{some[-1]}"] = {"family": family, "names": some, "images": 1024}
    return found


def inject(folder: Path, family: str, names: list[str], images: int) -> Outcome:
    """Exports `names` on the backbone of `family` and compares, batch size by batch size.

    Args:
        folder: an empty one.
        family: of the backbone.
        names: methods.
        images: that each batch size is tried on; of fewer than 1,000 none may change its class at all.
    """
    outcome = Outcome()
    learnt_on, shown = pictures(LEARNT_ON, SIZE, seed=1), pictures(images, SIZE, seed=2)
    plain = pretrained(params_of("none", family, SIZE), *learnt_on)
    for name in names:
        exported = export(folder / name, plain, params_of(name, family, SIZE), learnt_on, *shown)
        for precision, batch in product(CHANGED, BATCHES):
            what = f"{name} on {family}, {precision}, batches of {batch}"
            outcome.count(what, exported.fault or _compare(exported, precision, batch, *shown, outcome))
    return outcome


@dataclass(frozen=True)
class Exported:
    """What comes of one method on one backbone.

    Attributes:
        predict: by precision, what must agree with `reference`; uint8 images to probabilities.
        reference: (n, classes) of the trained network.
        fault: why there is nothing to compare.
    """

    predict: dict[str, list[Any]]
    reference: Any
    fault: str | None


def _compare(exported: Exported, precision: str, batch: int, images: Any, labels: Any, outcome: Outcome) -> str | None:
    faults = [
        judge(exported.reference, ask(predict, images, batch), labels, precision, outcome)
        for predict in exported.predict[precision]
    ]
    return "; ".join(filter(None, faults)) or None


def export(folder: Path, plain: Any, params: Any, learnt_on: Any, images: Any, labels: Any) -> Exported:
    """Trains a little, merges, and writes the files as the export stage does."""
    import numpy as np

    from benchmarks.inference_model import InferenceModel
    from medtune.export.ensemble import Ensemble, Member
    from medtune.export.fp16 import to_half
    from medtune.export.onnx_graph import to_onnx
    from medtune.export.precisions import FILES, predictor
    from medtune.models.adapt import merge
    from medtune.tasks.classification.export import MostProbable, TemperedSoftmax

    network, moved = adapted(plain, params, *learnt_on)
    reference = ask(eager(InferenceModel(copy.deepcopy(network), TEMPERATURE)), images, 32)
    right = np.mean([(reference.argmax(1) == labels)[labels == k].mean() for k in np.unique(labels)])
    if not moved > 1e-3:
        return Exported({}, reference, f"the method moved the features by {moved:.1g} only")
    if right < 0.8:
        return Exported({}, reference, f"the network is right in {right:.0%} only: too little to compare decisions on")
    merge(network, params)
    model = Ensemble([Member(network, TemperedSoftmax(TEMPERATURE))], "probabilities", MostProbable())
    fp32 = to_onnx(model, SIZE, params.export.opset, {}, model.names)
    both = np.stack([reference, reference], axis=1)  # the mean, and the only network
    folder.mkdir(exist_ok=True)
    document: dict[str, Any] = {"precisions": {}, "parity": {}}
    try:
        for precision in CHANGED:
            _maker(fp32, params, images, labels, both).export(folder, document, precision)
            if reason := document["precisions"][precision]["reason"]:
                return Exported({}, reference, f"{precision} is not shipped: {reason}")
    except RuntimeError as error:
        return Exported({}, reference, str(error))
    files = {precision: _mean(predictor((folder / FILES[precision]).read_bytes())) for precision in CHANGED}
    rounded = _mean(predictor(to_half(fp32, emulate=True).SerializeToString()))
    return Exported({"fp32": [files["fp32"]], "fp16": [rounded, files["fp16"]]}, reference, None)


def _maker(fp32: Any, params: Any, images: Any, labels: Any, reference: Any) -> Any:
    """The export stage's, on as many of the images as it compares by default."""
    import numpy as np

    from medtune.data.manifest import PreparedDataset
    from medtune.export.parity_check import ParityCheck
    from medtune.export.precisions import PrecisionExporter

    rows = np.arange(min(len(images), params.export.parity_images))
    names = tuple(str(row) for row in range(len(images)))
    prepared = PreparedDataset(
        Path(), {}, CLASSES, names, labels, np.array(names), np.zeros(len(images), int),
        np.full((len(images), 1), "test"), images, names,
    )  # fmt: skip
    document = {"task": {"kind": "classification"}, "classes": list(CLASSES), "decision": {"kind": "argmax"}}
    trial = ParityCheck(prepared, rows, images[rows], reference[rows], document)
    return PrecisionExporter(fp32, trial, lambda: images, params.export)


def _mean(predict: Any) -> Any:
    """The mean over the networks of an exported graph."""
    return lambda images: predict(images)[:, 0]


def eager(deployed: Any) -> Any:
    """The network in PyTorch, called as an exported one is."""
    import torch

    def predict(images: Any) -> Any:
        with torch.inference_mode():
            return deployed(torch.from_numpy(images)).numpy()

    return predict


def ask(predict: Any, images: Any, batch: int) -> Any:
    """(n, classes) probabilities of `images` in batches of `batch`."""
    import numpy as np

    return np.concatenate([predict(images[start : start + batch]) for start in range(0, len(images), batch)])


def judge(reference: Any, found: Any, labels: Any, precision: str, outcome: Outcome) -> str | None:
    """What is wrong with probabilities `found` of one precision; None where nothing is."""
    import numpy as np
    from sklearn.metrics import balanced_accuracy_score

    if not np.isfinite(found).all():
        return f"{int((~np.isfinite(found)).any(1).sum())} of {len(found)} images came out NaN"
    difference = float(np.abs(found - reference).max())
    changed = float((found.argmax(1) != reference.argmax(1)).mean())
    lost = balanced_accuracy_score(labels, reference.argmax(1)) - balanced_accuracy_score(labels, found.argmax(1))
    outcome.figure(f"greatest {precision} difference", difference)
    outcome.figure(f"greatest share of {precision} decisions that differ", changed)
    outcome.figure(f"greatest {precision} metric drop", max(lost, 0.0))
    allowed = FP32 if precision == "fp32" else FP16
    if difference > allowed:
        return f"probabilities differ by up to {difference:.2g}; {allowed:g} is allowed"
    if changed > CHANGED[precision]:
        return f"{changed:.2%} of {len(found)} images change their class"
    return f"balanced accuracy falls by {lost:.2g}" if lost > DROP else None
