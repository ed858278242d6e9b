"""Matching of state dict keys to a backbone: wrapper prefixes, classifiers and parts used only in pretraining."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medtune.serving.one_line import first_line

# Attribute names under which wrappers store a network. Other prefixes are recognized by the keys that follow them.
WRAPPERS = {
    "_orig_mod", "backbone", "base_encoder", "ema", "ema_model", "encoder", "encoder_k", "encoder_q", "image_encoder",
    "model", "model_ema", "module", "momentum_encoder", "net", "network", "student", "target_encoder", "teacher",
    "trunk", "vision_encoder", "vision_model", "visual",
}  # fmt: skip
# Wrappers of averaged weights and teachers, which are preferred, and of students, which are the last choice.
AVERAGED = {"ema", "ema_model", "encoder_k", "model_ema", "momentum_encoder", "target_encoder", "teacher"}
STUDENTS = {"student"}
# Prefixes of classifiers.
HEADS = ("head.", "head_dist.", "heads.", "fc.", "classifier.", "cls_head.")
# Parts of masked autoencoders and self-distillation that only pretraining uses.
PRETRAINING = ("decoder", "mask_token", "projector.", "predictor.", "dino_head.", "ibot_head.")
# Largest number of keys of a kind in a message.
MAX_SHOWN = 2


@dataclass
class Fit:
    """Comparison of a state dict with a backbone after removal of a prefix.

    Attributes:
        prefix: removed from the keys.
        state: tensors to load, with the keys of the backbone.
        left_out: keys that are not loaded. They lack the prefix, or belong to a classifier or a part that is used only
            in pretraining.
        missing: keys that the state dict lacks.
        unexpected: keys that the backbone lacks.
        reshaped: descriptions of keys with different shapes.
        error: message if timm cannot convert the keys, otherwise empty.
    """

    prefix: str
    state: dict[str, Tensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def mismatches(self) -> int:
        """Number of keys that do not fit, plus 1 if timm cannot convert the keys."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped) + bool(self.error)

    @property
    def description(self) -> str:
        """Numbers of missing, unexpected and reshaped keys, and the first of each."""
        if self.error:
            return self.error
        groups = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.reshaped}
        parts = [
            f"{len(keys)} {what}{', such as' if len(keys) > MAX_SHOWN else ':'} {', '.join(sorted(keys)[:MAX_SHOWN])}"
            for what, keys in groups.items()
            if keys
        ]
        return f"{self.mismatches} key{' differs' if self.mismatches == 1 else 's differ'}: {'; '.join(parts)}"


def find_fits(state: Mapping[str, Tensor], backbone: nn.Module) -> list[Fit]:
    """Compare a state dict with a backbone under every prefix that its keys suggest.

    Args:
        state: state dict of a file.
        backbone: may be on the meta device.

    Returns:
        One `Fit` per prefix. Averaged weights and teachers come first, students last (`prefix_rank`).
    """
    return sorted(
        (_fit(state, prefix, backbone) for prefix in _prefixes(state, backbone)),
        key=lambda fit: prefix_rank(fit.prefix),
    )


def prefix_rank(prefix: str) -> int:
    """Return the rank of a prefix: 0 for averaged weights and teachers, 2 for students, 1 for the rest."""
    parts = set(prefix.split("."))
    return 0 if parts & AVERAGED else 2 if parts & STUDENTS else 1


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Return True if both have the same keys with equal values."""
    return left.keys() == right.keys() and all(torch.equal(value, right[key]) for key, value in left.items())


def _prefixes(state: Mapping[str, Tensor], backbone: nn.Module) -> list[str]:
    """Return the empty prefix, prefixes made of wrappers, and prefixes that precede known keys of the backbone."""
    prefixes = {"": None}
    anchors = [key for key in backbone.state_dict() if "." in key][:3]
    for key in state:
        parts = key.split(".")
        for count in range(1, len(parts)):
            if parts[count - 1] not in WRAPPERS:
                break
            prefixes[".".join(parts[:count]) + "."] = None
        prefixes |= {key.removesuffix(anchor): None for anchor in anchors if key.endswith(f".{anchor}")}
    return list(prefixes)


def _fit(state: Mapping[str, Tensor], prefix: str, backbone: nn.Module) -> Fit:
    """Compare the keys that start with the prefix with the backbone. All other keys are left out."""
    outside = [key for key in state if not key.startswith(prefix)]
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    droppable = (*_classifiers(backbone), *HEADS, *PRETRAINING)
    # timm recognizes some files by keys that only pretraining uses, and converts other files only without these keys.
    # Therefore both variants are tried.
    candidates = [inside, {key: value for key, value in inside.items() if not key.startswith(PRETRAINING)}]
    if len(candidates[1]) == len(inside):
        del candidates[1]
    fits = [_compare(prefix, candidate, backbone, droppable) for candidate in candidates]
    fit = min(fits, key=lambda fit: fit.mismatches)
    expected = backbone.state_dict()
    fit.left_out = outside + [prefix + key for key in inside if key not in expected and key.startswith(droppable)]
    return fit


def _compare(prefix: str, inside: dict[str, Tensor], backbone: nn.Module, droppable: tuple[str, ...]) -> Fit:
    """Compare keys without the prefix with the backbone. Unknown keys that start with `droppable` are ignored."""
    expected = backbone.state_dict()
    fit = Fit(prefix)
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            inside = convert(dict(inside), backbone)
        except Exception as error:  # the conversion fails for files that timm does not know
            fit.error = f"timm cannot convert its keys: {first_line(error, with_type=True)}"
            fit.missing = list(expected)
            return fit
    inside = {key: value for key, value in inside.items() if key in expected or not key.startswith(droppable)}
    fit.missing = [key for key in expected.keys() - inside.keys() if not key.endswith("num_batches_tracked")]
    fit.unexpected = [key for key in inside if key not in expected]
    fit.reshaped = [
        f"{key} has the shape {tuple(inside[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected.keys() & inside.keys()
        if expected[key].shape != inside[key].shape
    ]
    fit.state = inside
    return fit


def _classifiers(backbone: nn.Module) -> tuple[str, ...]:
    """Return the key prefixes of the classifiers that timm names for the backbone."""
    named = (getattr(backbone, "pretrained_cfg", None) or {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))
