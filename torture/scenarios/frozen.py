"""What is frozen stays as it was, bit for bit: stage 1's backbone, and in stage 2 what a PEFT method does not train."""

import copy
import shutil
from itertools import product
from pathlib import Path
from typing import Any

from medtune.config import registry
from medtune.config.load import validate
from torture import job
from torture.networks import audit
from torture.networks.adapted import BACKBONES, methods
from torture.outcome import Outcome

NUMBER = 10
TITLE = "sha256 of all that is frozen before and after training, BatchNorm statistics and buffers included"
TARGET = "stage 1: every head x backbone x views x batchnorm; stage 2: every method x backbone: unchanged bit for bit"
WITH_BATCHNORM = ("resnet", "mobilenet")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
# Of whole images: `attention_mil` pools the tiles of slides.
HEADS = [name for name in registry.plugin_names("medtune.models.heads") if name != "attention_mil"]
VIEWS: tuple[int | str, ...] = (2, "online")
SIZE, FOLD = 64, 1


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Stage 1 by backbone family, stage 2 by family and some methods."""
    if not full:
        return {
            "one": {"family": "mobilenet", "heads": ["linear"]},
            "two": {"family": "mobilenet", "names": ["tinytl"]},
        }
    found: dict[str, dict[str, Any]] = {}
    for family in BACKBONES:
        found[f"{family}-frozen"] = {"family": family, "heads": HEADS}
        # Where everything is trained, only statistics are held.
        names = [name for name in methods(family) if name != "none" or family in WITH_BATCHNORM]
        found[f"{family}-finetuned"] = {"family": family, "names": names}
    return found


def inject(folder: Path, family: str, heads: list[str] | None = None, names: list[str] | None = None) -> Outcome:
    """Trains on the backbone of `family`: every head in stage 1, or every method in stage 2."""
    outcome = Outcome()
    paths = job.prepare(folder, _params(family))
    for head, views, batchnorm in product(heads or (), VIEWS, ("frozen", "train")):
        what = f"{head} on {family}, views {views}, batchnorm {batchnorm}"
        outcome.count(what, _first(_params(family, head=head, views=views, batchnorm=batchnorm), paths, outcome))
    for name, batchnorm in product(names or (), ("frozen", "train") if family in WITH_BATCHNORM else ("frozen",)):
        what = f"{name} on {family}, batchnorm {batchnorm}"
        outcome.count(what, _second(_params(family, method=name, batchnorm=batchnorm), paths, outcome))
    return outcome


def _params(
    family: str, head: str = "linear", method: str = "none", views: int | str = 1, batchnorm: str = "frozen"
) -> Any:
    tree = copy.deepcopy(job.TREE)
    once = {"epochs": 1, "lr": 1e-2, "checkpoint_seconds": 30}
    tree["data"] |= {"image_size": SIZE, "images_per_patient": 2}
    tree["frozen"] |= {**once, "feature_views": views}
    tree["finetune"] |= once
    backbone, weights = BACKBONES[family]
    tree["model"] = {
        "backbone": backbone,
        "weights": weights,
        "backbone_args": {"img_size": SIZE} if family == "vit" else {},
        "batchnorm": batchnorm,
        "head": {"kind": head, "centers": 4} if head == "cdtm" else {"kind": head},
        "peft": {"method": method},
    }
    return validate(tree)


def _first(params: Any, paths: Any, outcome: Outcome) -> str | None:
    """What is wrong after stage 1 with `params`, or None."""
    from medtune.stages import frozen
    from medtune.training.checkpoint import load_trained

    shutil.rmtree(paths.stage("frozen"), ignore_errors=True)
    with audit.built() as networks:
        try:
            artifact = frozen.run(params, paths, FOLD)
        except RuntimeError as error:
            return str(error)
    (network, backbone, head), *others = networks
    outcome.figure("number of tensors compared", len(backbone))
    if others:
        return f"{len(networks)} networks were built: which was trained is not known"
    if audit.changed(head, audit.bits(network.head)) is None:
        return "the head was not trained either"
    kept = audit.bits(load_trained(artifact).backbone)
    return audit.changed(backbone, audit.bits(network.backbone)) or audit.changed(backbone, kept)


def _second(params: Any, paths: Any, outcome: Outcome) -> str | None:
    """What is wrong after stage 2 with `params`, or None."""
    from medtune.stages import finetune

    shutil.rmtree(paths.stage("finetune"), ignore_errors=True)
    with audit.adapted() as found:
        finetune.run(params.model_copy(update={"schedule": "full"}), paths, FOLD)
    held, then = found["held"], found["then"]
    outcome.figure("number of tensors compared", len(held))
    if params.model.batchnorm == "train":  # the statistics follow the training images then, and nothing else does
        statistics = {name for name in held if name.rpartition(".")[2] in STATISTICS}
        if all(held[name] == then[name] for name in statistics):
            return "batchnorm is train, but no statistics moved"
        held = {name: sha256 for name, sha256 in held.items() if name not in statistics}
    if not held:
        return "there is nothing that is frozen"
    return audit.changed(held, then)
