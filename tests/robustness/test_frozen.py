"""Digests of all frozen tensors, before and after training.

Stage 1 must not change the backbone. Stage 2 must change only what the PEFT method trains.
"""

import copy
import hashlib
import shutil
from itertools import product

import pytest
import torch

from medtune.config import registry
from medtune.config.load import validate
from medtune.models import adapt, classifier, weights
from medtune.stages import finetune, frozen
from medtune.tasks.classification import training
from medtune.training.checkpoint import load_trained
from medtune.training.inputs import FrozenBackboneModel
from tests.robustness import job
from tests.robustness.faults import Faults
from tests.robustness.networks import BACKBONES, SIZE, model_tree, supported_methods
from tests.robustness.profile import scale

pytestmark = [
    pytest.mark.faults(
        row=10,
        title="a part of a network is frozen during training",
        target="The SHA-256 of all frozen parameters and buffers does not change. This is true in stage 1 for each "
        "combination of head, backbone, `frozen.feature_views` and `model.batchnorm`, and in stage 2 for each "
        "combination of method and backbone",
    ),
    pytest.mark.xdist_group("frozen"),
]
FOLD = 1
WITH_BATCHNORM = ("resnet", "mobilenet")
BATCHNORM = ("frozen", "train")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
VIEWS = (2, "online")
# The data here are images. attention_mil aggregates the tiles of slides, and decoder segments volumes.
HEADS = [name for name in registry.plugin_names("medtune.models.heads") if name not in ("attention_mil", "decoder")]
# The logistic head requires stored features.
STAGE_1 = [case for case in product(HEADS, BACKBONES, VIEWS) if case[0] != "logistic" or case[2] != "online"]


def stage_2_cases():
    """List methods, families and modes of BatchNorm. Method none trains everything but the statistics."""
    for family in BACKBONES:
        has_batchnorm = family in WITH_BATCHNORM
        for method in supported_methods(family):
            if method != "none" or has_batchnorm:
                yield from product([method], [family], BATCHNORM if has_batchnorm else BATCHNORM[:1])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return job.prepare(tmp_path_factory.mktemp("frozen"), params_for("mobilenet"))


@pytest.mark.parametrize("batchnorm", BATCHNORM)
@pytest.mark.parametrize(("head", "family", "views"), scale([*product(["linear"], ["mobilenet"], VIEWS)], STAGE_1))
def test_frozen__backbone_does_not_change_in_stage_1(faults, monkeypatch, paths, head, family, views, batchnorm):
    train_stage_1(faults, monkeypatch, paths, head, family, views, batchnorm)


@pytest.mark.parametrize(
    ("method", "family", "batchnorm"), scale([*product(["tinytl"], ["mobilenet"], BATCHNORM)], [*stage_2_cases()])
)
def test_frozen__method_changes_only_what_it_trains_in_stage_2(faults, monkeypatch, paths, method, family, batchnorm):
    train_stage_2(faults, monkeypatch, paths, method, family, batchnorm)


@pytest.mark.parametrize("batchnorm", BATCHNORM)
def test_frozen__changed_statistics_are_noticed(monkeypatch, paths, batchnorm):
    forward, faults = FrozenBackboneModel.forward, Faults()

    def forward_in_training_mode(self, images):
        self.model.backbone.train()
        return forward(self, images)

    monkeypatch.setattr(FrozenBackboneModel, "forward", forward_in_training_mode)
    train_stage_1(faults, monkeypatch, paths, "linear", "mobilenet", "online", batchnorm)
    monkeypatch.setattr(weights, "state_sha256", lambda module: "constant")  # disables the check of the product
    train_stage_1(faults, monkeypatch, paths, "linear", "mobilenet", "online", batchnorm)
    rejected, accepted = faults.lost
    assert "training changed the frozen backbone" in rejected
    assert "running_mean" in accepted


def test_frozen__statistics_that_change_in_stage_2_are_noticed(monkeypatch, paths):
    monkeypatch.setattr(classifier, "freeze_batchnorm", lambda module: None)
    train_stage_2(faults := Faults(), monkeypatch, paths, "tinytl", "mobilenet", "frozen")
    assert "running_mean" in faults.lost[0]


def train_stage_1(faults, monkeypatch, paths, head, family, views, batchnorm):
    shutil.rmtree(paths.stage("frozen"), ignore_errors=True)
    networks = []

    def build(*args, **kwargs):
        network = classifier.build(*args, **kwargs)
        networks.append((network, digests(network.backbone), digests(network.head)))
        return network

    problem = None
    with monkeypatch.context() as patch:
        patch.setattr(training, "build", build)
        try:
            artifact = frozen.run(params_for(family, head, views=views, batchnorm=batchnorm), paths, FOLD)
        except RuntimeError as error:
            problem = str(error)
    [(network, backbone, head_before)] = networks
    faults.measure("number of tensors compared", len(backbone))
    if problem is None and changes(head_before, digests(network.head)) is None:
        problem = "the head was not trained"
    if problem is None:
        problem = changes(backbone, digests(network.backbone))
        problem = problem or changes(backbone, digests(load_trained(artifact).backbone))
    faults.count(f"{head} on {family}, views {views}, batchnorm {batchnorm}", problem)


def train_stage_2(faults, monkeypatch, paths, method, family, batchnorm):
    shutil.rmtree(paths.stage("finetune"), ignore_errors=True)
    with monkeypatch.context() as patch:
        recorded = record_stage_2(patch)
        finetune.run(params_for(family, method=method, batchnorm=batchnorm, schedule="full"), paths, FOLD)
    before, after, problem = recorded["before"], recorded["after"], None
    faults.measure("number of tensors compared", len(before))
    if batchnorm == "train":
        statistics = {name for name in before if name.endswith(STATISTICS)}
        if all(before[name] == after[name] for name in statistics):
            problem = "batchnorm is train, but no statistics changed"
        before = {name: sha256 for name, sha256 in before.items() if name not in statistics}
    problem = problem or (changes(before, after) if before else "nothing is frozen")
    faults.count(f"{method} on {family}, batchnorm {batchnorm}", problem)


def record_stage_2(patch):
    """Record the digests of frozen tensors before and after stage 2.

    Buffers count after the method was prepared. If it has a function that runs after each step, only the buffers of
    the plain network count.
    """
    recorded, plain_buffers = {}, set()
    original_adapt, original_prepare, original_merge = adapt.adapt, adapt.prepare, adapt.merge

    def record_adapt(model, params):
        plain_buffers.update(map(id, model.buffers()))
        model = original_adapt(model, params)
        now = digests(model)
        recorded["before"] = {name: now[name] for name, value in model.named_parameters() if not value.requires_grad}
        return model

    def record_prepare(model, batches, params):
        original_prepare(model, batches, params)
        now, has_state = digests(model), adapt.after_step(model, params) is not None
        for name, value in model.named_buffers():
            if not has_state or id(value) in plain_buffers:
                recorded["before"][name] = now[name]

    def record_merge(model, params):
        recorded["after"] = digests(model)
        return original_merge(model, params)

    patch.setattr(adapt, "adapt", record_adapt)
    patch.setattr(adapt, "prepare", record_prepare)
    patch.setattr(adapt, "merge", record_merge)
    return recorded


def digests(module):
    """Return sha256 of every parameter and buffer by name, including buffers that checkpoints omit."""
    result = {}
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        content = value.detach().contiguous().reshape(-1)
        data = content.view(torch.uint8).numpy().tobytes() if content.numel() else b""
        result[name] = hashlib.sha256(f"{value.dtype} {tuple(value.shape)} ".encode() + data).hexdigest()
    return result


def changes(before, after):
    names = [name for name, sha256 in before.items() if after.get(name) != sha256]
    return f"{len(names)} of {len(before)} tensors changed: {', '.join(names[:3])}" if names else None


def params_for(family, head="linear", method="none", views=1, batchnorm="frozen", schedule="staged"):
    tree = copy.deepcopy(job.TREE)
    once = {"epochs": 1, "lr": 1e-2, "checkpoint_seconds": 30}
    tree["schedule"] = schedule
    tree["data"] |= {"image_size": SIZE, "images_per_patient": 2}
    tree["frozen"] |= {**once, "feature_views": views}
    tree["finetune"] |= once
    tree["model"] = model_tree(method, family) | {"batchnorm": batchnorm}
    tree["model"]["head"] = {"kind": head, "centers": 4} if head == "cdtm" else {"kind": head}
    return validate(tree)
