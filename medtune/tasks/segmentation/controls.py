"""Controls of segmentation: the decoder without a backbone, and the complete network from random weights.

A control is another training, which reports compare with the model. It has the data, folds, patches, augmentation, seed
and loss of the model. It has as many optimizer steps as all training stages of the model together, if the stages repeat
the volumes equally often per epoch. Otherwise, the numbers of steps differ. Reports state both numbers.
"""

from typing import Any

from medtune.config import registry
from medtune.config.schema import Params
from medtune.config.training import TrainingParams
from medtune.config.volume_model import NO_BACKBONE, VOLUME_NETWORKS
from medtune.evaluation.control import Control

DECODER_ONLY, SCRATCH = "decoder_only", "scratch"
SWITCHED_OFF = "not trained (task.controls)"
# Text of reports.
NOTE = (
    "The controls show the contribution of the backbone and of its weights. Each trained control has the folds, the "
    "patches, the augmentation and the seed of the model, and one stage with as many epochs as all stages of the "
    "model. The decoder alone is the 3-D decoder of MedTune without a backbone, also if the model has another decoder."
)
IS_DECODER = "the model itself is this control, because it is the decoder alone"
IS_RANDOM = "the model itself is this control, because it has no pretrained weights"
# Params of the head that only networks of slices have.
SLICE_KEYS = ("slice_scale", "slice_axis")
FULL = "none"  # PEFT method that trains all parameters


def controls(params: Params) -> tuple[Control, ...]:
    """Return both controls. A control that does not apply to the model, or that is not selected, has no params.

    Args:
        params: all params.

    Returns:
        The controls, in the order of reports.
    """
    model = params.model
    part = f"network {model.backbone}" if model.backbone in VOLUME_NETWORKS else "backbone"
    no_decoder = IS_DECODER if model.backbone == NO_BACKBONE else None
    no_scratch = IS_RANDOM if model.weights == "none" else None
    return (
        _control(params, DECODER_ONLY, "decoder alone", part, no_decoder),
        _control(params, SCRATCH, "same network from random weights", "pretraining", no_scratch),
    )


def _control(params: Params, name: str, title: str, part: str, absence: str | None) -> Control:
    """Return a control that lacks `part` of the model, or a control without params and the reason `absence`."""
    selected = name in getattr(params.task, "controls")  # noqa: B009
    absence = absence or (None if selected else SWITCHED_OFF)
    if absence:
        return Control(name, title, part, absence=absence)
    tree = params.model_dump(mode="json")
    tree["final"] = "ensemble"
    tree["task"]["controls"] = []
    (_remove_backbone if name == DECODER_ONLY else _remove_weights)(params, tree)
    return Control(name, title, part, Params.model_validate(tree))


def _remove_backbone(params: Params, tree: dict[str, Any]) -> None:
    """Change the params to a training of MedTune's decoder in one stage.

    The decoder has the learning rates of the head. With the schedule `full`, there are no rates of the head alone. The
    decoder then has the rate of the model if the model trains all parameters from random weights. Otherwise, it has
    the highest rate.
    """
    head = {key: value for key, value in tree["model"]["head"].items() if key not in SLICE_KEYS}
    tree["model"] = {"backbone": NO_BACKBONE, "weights": "none", "head": head, "peft": {"method": FULL}}
    tree["finetune"]["gradient_checkpointing"] = False
    if params.schedule == "full":
        if params.model.weights != "none" or params.model.peft.method != FULL:
            tree["finetune"]["lr"] = _highest_rate()
    else:
        tree["schedule"] = "frozen"
        tree["frozen"] |= _duration(params)


def _remove_weights(params: Params, tree: dict[str, Any]) -> None:
    """Change the params to a training of all parameters in one stage, from random weights."""
    finetune = tree["finetune"]
    if params.schedule == "frozen":  # without a stage 2, its settings are those of stage 1
        finetune |= {key: tree["frozen"][key] for key in TrainingParams.model_fields if key != "lr"}
    finetune |= _duration(params)
    named = isinstance(finetune["lr"], dict) and FULL in finetune["lr"]
    if not named and (params.schedule == "frozen" or params.model.peft.method != FULL):
        finetune["lr"] = _highest_rate()
    tree["schedule"] = "full"
    # The statistics of an untrained BatchNorm are not those of its inputs.
    tree["model"] |= {"weights": "none", "batchnorm": "train", "peft": {"method": FULL}}


def _highest_rate() -> float:
    """Return the highest rate for all parameters, because random weights need a higher rate than pretrained ones."""
    return float(max(registry.load_plugin("medtune.models.peft", FULL, "model.peft.method").LR_GRID))


def _duration(params: Params) -> dict[str, Any]:
    """Return the total epochs and minimum steps of all training stages, and the smallest batch of a stage."""
    stages = [getattr(params, name) for name in params.training_stages]
    epochs = sum(stage.epochs for stage in stages)
    smallest = min(stages, key=lambda stage: stage.batch_size * stage.gradient_accumulation_steps)
    return {
        "epochs": epochs,
        "min_steps": sum(stage.min_steps for stage in stages),
        "repeats_per_epoch": -(-sum(stage.epochs * stage.repeats_per_epoch for stage in stages) // epochs),
        "batch_size": smallest.batch_size,
        "gradient_accumulation_steps": smallest.gradient_accumulation_steps,
    }
