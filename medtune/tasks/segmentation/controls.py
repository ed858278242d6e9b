"""Controls of segmentation: the decoder without a backbone, and the complete network from random weights.

A control has the data, folds, patches, augmentation, seed and loss of the model, and as many optimizer steps as all
training stages of the model together. If both stages repeat the volumes equally often per epoch, the numbers of steps
are equal. Otherwise they differ, so reports state both.
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
    "The controls show the contribution of the backbone and of its weights. Each of them is trained with the folds, "
    "the patches, the augmentation and the seed of the model, in one stage with as many epochs as all stages of the "
    "model."
)
# Keys of the head that only slices use.
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
    in_decoder = in_weights = None
    if model.backbone == NO_BACKBONE:
        in_decoder = "does not apply: the model is the decoder alone"
    elif model.backbone in VOLUME_NETWORKS:
        in_decoder = f"does not apply: the decoder of {model.backbone} needs its encoder"
    if model.weights == "none":
        in_weights = "does not apply: the model has no pretrained weights"
    return (
        _control(params, DECODER_ONLY, "decoder alone", "backbone", in_decoder),
        _control(params, SCRATCH, "same network from random weights", "pretraining", in_weights),
    )


def _control(params: Params, name: str, title: str, part: str, problem: str | None) -> Control:
    selected = name in getattr(params.task, "controls")  # noqa: B009
    absence = problem or (None if selected else SWITCHED_OFF)
    if absence:
        return Control(name, title, part, absence=absence)
    tree = params.model_dump(mode="json")
    tree["final"] = "ensemble"
    tree["task"]["controls"] = []
    (_remove_backbone if name == DECODER_ONLY else _remove_weights)(params, tree)
    return Control(name, title, part, Params.model_validate(tree))


def _remove_backbone(params: Params, tree: dict[str, Any]) -> None:
    """Change the params to a training of the decoder in one stage, with the learning rates of the head."""
    head = {key: value for key, value in tree["model"]["head"].items() if key not in SLICE_KEYS}
    tree["model"] = {"backbone": NO_BACKBONE, "weights": "none", "head": head, "peft": {"method": FULL}}
    tree["finetune"]["gradient_checkpointing"] = False
    if params.schedule == "full":
        # Stage 2 trains the head at a rate of its own, and there is no other layer to find a rate for.
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
    """Return the epochs and minimum steps of all training stages together, and their smallest batch."""
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
