"""What stage 2 trains: the whole network, or a PEFT method's part of it and the head."""

from types import ModuleType

from config import registry
from config.schema import Params
from models.classifier import Classifier


def method_of(params: Params) -> ModuleType:
    """The file in models/peft that params name."""
    return registry.load("models.peft", params.model.peft.method, "model.peft.method")


def adapt(model: Classifier, params: Params) -> Classifier:
    """`model` as stage 2 trains it: the method's tensors and the head have requires_grad, nothing else."""
    model.backbone = method_of(params).apply(model.backbone, params.model.peft)
    model.head.requires_grad_(True)
    return model


def merge(model: Classifier, params: Params) -> bool:
    """Whether the method could be merged; `model` then is a plain network again, of the plain network's cost."""
    method = method_of(params)
    if not hasattr(method, "merge"):
        return False
    model.backbone = method.merge(model.backbone)
    return True
