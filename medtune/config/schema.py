"""params.yaml as pydantic models, one section per stage.

Validation imports neither torch nor prefect. The `Params` class of a plugin (data source, head, PEFT method, task)
validates the section of the plugin.
"""

import json
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from medtune.config import registry
from medtune.config.base import StrictParams, renamed
from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.config.evaluation import EvaluateParams as EvaluateParams
from medtune.config.head_aggregation import check_head
from medtune.config.learning_rate import resolve
from medtune.config.normalization import Normalization as Normalization
from medtune.config.task_labels import check_task
from medtune.config.training import STAGES, FinetuneParams, FrozenParams, Schedule
from medtune.config.validation_errors import SECRET, format_validation_error, param_error
from medtune.config.volume_model import check_volume_model
from medtune.serving.members import REFIT

Positive = Annotated[int, Field(gt=0)]
DEFAULT_TASK = "classification"


class TaskParams(StrictParams):
    """Keys that all tasks share. The `Params` of a task adds more keys."""

    kind: str = Field(examples=["multilabel"])


class HeadParams(StrictParams):
    """Keys that all heads share. The `Params` of a head adds more keys."""

    kind: str = Field(examples=["linear"])

    @property
    def aggregation(self) -> Literal["mean", "attention"]:
        """Aggregation of tiles into a slide: the mean of their probabilities, or learned attention weights."""
        return "mean"

    @property
    def solved(self) -> bool:
        """True if stage 1 finds the head's optimum with a solver, without epochs and a learning rate."""
        return False

    @property
    def candidates(self) -> list[float]:
        """Candidate regularization strengths of a solved head."""
        return []

    @property
    def reads_volumes(self) -> bool:
        """True if the head maps volumes to a label per voxel, which task segmentation needs."""
        return False


class PeftParams(StrictParams):
    """PEFT method of stage 2. `none` trains every weight. The `Params` of a method adds more keys."""

    method: str = Field(examples=["lora"])


def _plugin_validator(package: str, discriminator: str, key: str) -> BeforeValidator:
    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            if discriminator not in value:
                raise InputError(
                    f"{key}.{discriminator}: missing. Choose one of: {', '.join(registry.plugin_names(package))}"
                )
            plugin = registry.load_plugin(package, value[discriminator], f"{key}.{discriminator}")
            try:
                return plugin.Params.model_validate(value)
            except ValidationError as error:
                raise InputError(format_validation_error(error, plugin.Params, key)) from None
        return value

    return BeforeValidator(choose)


# Arguments of timm.create_model that load weights and would bypass model.weights, its checks and the cache keys.
WEIGHT_ARGS = {"cache_dir", "checkpoint_path", "pretrained"}


class ModelParams(StrictParams):
    """Backbone, pretrained weights, head and PEFT method."""

    backbone: str = Field(
        description="timm model name: ARCHITECTURE or ARCHITECTURE.TAG. Segmentation also: none, unet, dynunet, ...",
        examples=["vit_base_patch16_224"],
    )
    weights: str = Field(
        "hub",
        description="hub, bundled, none, or a file: .safetensors, .pth, .pt, .bin or .ckpt",
        examples=["hub", "weights.safetensors"],
    )
    backbone_args: dict[str, Any] = Field(
        default_factory=dict, description="arguments of timm.create_model", examples=[{"drop_path_rate": 0.1}]
    )
    normalization: Normalization | None = Field(
        None, description="null: normalization of the published weights. A weights file may need its own values"
    )
    batchnorm: Literal["frozen", "train"] = Field("frozen", description="BatchNorm statistics in stage 2")
    head: Annotated[SerializeAsAny[HeadParams], _plugin_validator("medtune.models.heads", "kind", "model.head")]
    peft: Annotated[SerializeAsAny[PeftParams], _plugin_validator("medtune.models.peft", "method", "model.peft")]

    @model_validator(mode="after")
    def _args_are_json(self) -> "ModelParams":
        if taken := sorted(WEIGHT_ARGS & self.backbone_args.keys()):
            raise param_error(
                f"backbone_args.{taken[0]}", self.backbone_args[taken[0]], "not allowed here. Use model.weights"
            )
        for key, value in self.backbone_args.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise param_error(
                    f"backbone_args.{key}", value, "expected a string, a boolean, a finite number, or a list of these"
                ) from None
        return self


class ExportParams(StrictParams):
    """ONNX bundle and its acceptance limits."""

    REMOVED: ClassVar[dict[str, str]] = renamed(
        "export",
        metric_drop="max_metric_drop",
        int8_metric_drop="int8_max_metric_drop",
        int8_speedup="int8_min_speedup",
    )

    precisions: list[Literal["fp32", "fp16", "int8"]] = Field(["fp32", "fp16"], description="int8: for CPUs")
    opset: Annotated[int, Field(ge=18, le=24)] = 20
    parity_images: Positive = 128
    batch_sizes: Annotated[list[Positive], Field(min_length=1)] = Field([1, 2, 7, 32])
    fp32_tolerance: Annotated[float, Field(gt=0)] = 1.0e-4
    fp16_tolerance: Annotated[float, Field(gt=0)] = 2.0e-2
    max_metric_drop: Annotated[float, Field(ge=0)] = Field(
        0.001, description="fp32 and fp16: largest allowed loss of balanced accuracy (classification) or Dice (volumes)"
    )
    calibration_images: Positive = Field(128, description="training images for the calibration of int8 ranges")
    int8_max_metric_drop: Annotated[float, Field(ge=0)] = Field(
        0.005, description="int8: largest allowed loss of balanced accuracy"
    )
    int8_min_speedup: Annotated[float, Field(ge=0)] = Field(
        1.5, description="smallest speedup of int8 over fp32, measured at export"
    )

    @model_validator(mode="after")
    def _fp32_first(self) -> "ExportParams":
        if "fp32" not in self.precisions:
            raise param_error(
                "precisions", self.precisions, "fp32 is missing. Add it, because other precisions are compared with it"
            )
        return self


class GateParams(StrictParams):
    """Conditions for promoting a newly trained model (flows/retrain.py)."""

    REMOVED: ClassVar[dict[str, str]] = {
        "gate.max_ece": "replaced, because it depends on the number of images. Use gate.max_confidence_gap.",
        "gate.min_patients": "replaced, because every class needs patients. Use gate.min_patients_per_class.",
        **renamed("gate", tolerance="min_improvement"),
    }

    metric: str = Field("balanced_accuracy", description="metric that compares the new model with the accepted model")
    min_improvement: Annotated[float, Field(ge=-1, lt=1)] = Field(
        0.0,
        description="the new model is promoted only if the lower confidence bound of its improvement exceeds this "
        "value. Negative values allow a small regression",
    )
    max_confidence_gap: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="largest allowed gap between mean confidence and accuracy. It applies to the new and the accepted "
        "model. A model is rejected only if the complete confidence interval of its gap is beyond this value",
    )
    min_patients_per_class: Annotated[int, Field(ge=2)] = Field(
        3,
        description="minimum number of test patients of the rarest class. Only patients that neither model has seen "
        "count. With fewer patients, no model is promoted. docs/statistics.md lists the detectable differences",
    )


class HandoffParams(StrictParams):
    """Storage of accepted bundles."""

    REMOVED: ClassVar[dict[str, str]] = renamed("handoff", keep="keep_last")

    target: str = Field(
        "published",
        description="folder or fsspec URL (s3://..., sftp://...)",
        examples=["published", "s3://BUCKET/PATH"],
    )
    keep_last: Annotated[int, Field(ge=2)] = Field(10, description="number of newest bundles that are kept")

    @field_validator("target")
    @classmethod
    def _reject_password(cls, target: str) -> str:
        if "://" in target and (urlsplit(target).password is not None or "?" in target):
            # params.yaml is committed and sent to W&B. The message must not repeat the secret either.
            raise PydanticCustomError(
                SECRET,
                "it contains a password or token, which would be committed and sent to W&B. "
                "Use environment variables, ~/.ssh or ~/.aws",
            )
        return target


class TrackingParams(StrictParams):
    """W&B runs. Mode `auto` is online if WANDB_API_KEY is set, otherwise offline."""

    project: str = "medtune"
    entity: str | None = Field(None, examples=["my-team"])
    mode: Literal["auto", "offline", "online", "disabled"] = "auto"


class Params(StrictParams):
    """Complete params.yaml."""

    seed: Annotated[int, Field(ge=0)] = 1
    schedule: Schedule = "staged"
    final: Literal["ensemble", "refit"] = Field(
        "ensemble",
        description="exported model. ensemble: average of the networks of all folds. refit: one network, trained on "
        "all labeled images with the settings that the folds selected. See docs/final_model.md",
    )
    task: Annotated[SerializeAsAny[TaskParams], _plugin_validator("medtune.tasks", "kind", "task")] = Field(
        {"kind": DEFAULT_TASK},
        validate_default=True,
    )
    data: Annotated[SerializeAsAny[DataParams], _plugin_validator("medtune.data.sources", "source", "data")]
    model: ModelParams
    frozen: FrozenParams = FrozenParams()
    finetune: FinetuneParams = FinetuneParams()
    evaluate: EvaluateParams = EvaluateParams()
    export: ExportParams = ExportParams()
    gate: GateParams = GateParams()
    handoff: HandoffParams = HandoffParams()
    tracking: TrackingParams = TrackingParams()

    @model_validator(mode="after")
    def _metrics_exist(self) -> "Params":
        for key, known in self.metric_choices.items():
            section, _, name = key.partition(".")
            registry.check_metric(key, getattr(getattr(self, section), name), known)
        return self

    @model_validator(mode="after")
    def _task_and_head_fit(self) -> "Params":
        check_task(self.task.kind, self.data)
        head = self.model.head
        check_head(head.kind, head.aggregation, head.solved, self.data.source, self.schedule, self.frozen.feature_views)
        check_volume_model(self)
        return self

    @property
    def metric_choices(self) -> dict[str, list[str]]:
        """Allowed metrics of the task per params key."""
        metrics = registry.load_part("medtune.tasks", self.task.kind, "metrics", "task.kind").METRICS
        each_epoch = ["loss", *(metric.name for metric in metrics if metric.each_epoch)]
        return {
            "frozen.monitor": each_epoch,
            "finetune.monitor": each_epoch,
            "gate.metric": [
                metric.name for metric in metrics if metric.no_interval is None and metric.direction != "target"
            ],
        }

    @property
    def training_stages(self) -> tuple[Literal["frozen", "finetune"], ...]:
        """Training stages of the schedule, in the order they run."""
        return STAGES[self.schedule]

    @property
    def trained_networks(self) -> list[int]:
        """Test folds of the trained networks, in training order. `REFIT` stands for the network of all images."""
        return [*self.data.split.trained_folds, *([REFIT] if self.final == "refit" else [])]

    def learning_rates(self, stage: str) -> tuple[float, ...]:
        """Return the candidate learning rates of a stage, ascending. A solved head has only the first."""
        name = self.model.head.kind if stage == "frozen" else self.model.peft.method
        rates = resolve(stage, getattr(self, stage).lr, name)
        return rates[:1] if stage == "frozen" and self.model.head.solved else rates

    def section(self, name: str) -> dict[str, Any]:
        """Return one section as JSON values including defaults, the form that cache keys hash."""
        values: dict[str, Any] = getattr(self, name).model_dump(mode="json")
        return values
