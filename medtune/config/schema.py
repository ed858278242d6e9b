"""params.yaml as pydantic models: one section a stage, no key without a meaning.

Reading and checking a file imports neither torch nor prefect. A section whose fields depend on a
plugin (data source, head, PEFT method) takes its model from the plugin's own `Params` class.
"""

import json
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from medtune.config import registry
from medtune.config.base import StrictParams, renamed
from medtune.config.data import DataParams
from medtune.config.errors import InputError, format_validation_error, suggestion
from medtune.config.evaluation import EvaluateParams as EvaluateParams
from medtune.config.head_aggregation import check_head
from medtune.config.learning_rate import resolve
from medtune.config.normalization import Normalization as Normalization
from medtune.config.task_labels import check_task
from medtune.config.training import STAGES, FinetuneParams, FrozenParams, Schedule
from medtune.serving.members import REFIT

Positive = Annotated[int, Field(gt=0)]
DEFAULT_TASK = "classification"


class TaskParams(StrictParams):
    """What every task shares; a task's `Params` adds its own keys."""

    kind: str


class HeadParams(StrictParams):
    """What every head shares; a head's `Params` adds its own keys."""

    kind: str

    @property
    def aggregation(self) -> Literal["mean", "attention"]:
        """How tiles become a slide: the mean of their probabilities, or weights that the head learns."""
        return "mean"

    @property
    def solved(self) -> bool:
        """Whether stage 1 finds the head's optimum by a solver, without epochs and a learning rate."""
        return False

    @property
    def candidates(self) -> list[float]:
        """Regularization strengths to choose from, of a head that is solved."""
        return []


class PeftParams(StrictParams):
    """What stage 2 trains: `none` is every weight; a method's `Params` adds its own keys."""

    method: str


def _plugin_validator(package: str, discriminator: str, key: str) -> BeforeValidator:
    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            if discriminator not in value:
                raise InputError(
                    f"{key}.{discriminator} is missing; choose one of: {', '.join(registry.plugin_names(package))}"
                )
            plugin = registry.load_plugin(package, value[discriminator], f"{key}.{discriminator}")
            try:
                return plugin.Params.model_validate(value)
            except ValidationError as error:
                raise InputError(format_validation_error(error, plugin.Params, key)) from None
        return value

    return BeforeValidator(choose)


# Arguments of timm.create_model that would bring weights past model.weights, its checks and the cache keys.
WEIGHT_ARGS = {"cache_dir", "checkpoint_path", "pretrained"}


class ModelParams(StrictParams):
    """The network: a timm backbone, where its weights come from, the head, what stage 2 trains."""

    backbone: str = Field(description="timm name, arch.tag")
    weights: str = Field("hub", description="hub, bundled, none, or a file: .safetensors, .pth, .pt, .bin or .ckpt")
    backbone_args: dict[str, Any] = Field(default_factory=dict, description="passed to timm.create_model")
    normalization: Normalization | None = Field(
        None, description="null: that of the published weights; a weights file may need it"
    )
    batchnorm: Literal["frozen", "train"] = Field("frozen", description="BatchNorm statistics in stage 2")
    head: Annotated[SerializeAsAny[HeadParams], _plugin_validator("medtune.models.heads", "kind", "model.head")]
    peft: Annotated[SerializeAsAny[PeftParams], _plugin_validator("medtune.models.peft", "method", "model.peft")]

    @model_validator(mode="after")
    def _args_are_json(self) -> "ModelParams":
        if taken := sorted(WEIGHT_ARGS & self.backbone_args.keys()):
            raise ValueError(f"backbone_args has {taken[0]!r}: weights are named by model.weights alone")
        try:
            json.dumps(self.backbone_args, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"backbone_args is {self.backbone_args!r}: plain finite values only") from None
        return self


class ExportParams(StrictParams):
    """The ONNX bundle and what it must pass."""

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
    max_metric_drop: Annotated[float, Field(ge=0)] = Field(0.001, description="balanced accuracy a precision may lose")
    calibration_images: Positive = Field(128, description="training images that int8 takes its ranges from")
    int8_max_metric_drop: Annotated[float, Field(ge=0)] = Field(0.005, description="balanced accuracy int8 may lose")
    int8_min_speedup: Annotated[float, Field(ge=0)] = Field(
        1.5, description="times as fast as fp32, measured at export"
    )

    @model_validator(mode="after")
    def _fp32_first(self) -> "ExportParams":
        if "fp32" not in self.precisions:
            raise ValueError("precisions must include fp32: the other precisions are measured against it")
        return self


class GateParams(StrictParams):
    """What a newly trained model must show before it replaces the accepted one (flows/retrain.py)."""

    REMOVED: ClassVar[dict[str, str]] = {
        "gate.max_ece": "replaced, it depended on the number of images. Use gate.max_confidence_gap.",
        "gate.min_patients": "replaced, every class needs patients. Use gate.min_patients_per_class.",
        **renamed("gate", tolerance="min_improvement"),
    }

    metric: str = Field("balanced_accuracy", description="metric of the task that the two models are compared by")
    min_improvement: Annotated[float, Field(ge=-1, lt=1)] = Field(
        0.0, description="the paired difference's lower end must be above it; negative: how much worse is let pass"
    )
    max_confidence_gap: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="mean confidence may not be shown to be further from the accuracy than this, of either model: the "
        "whole interval must lie beyond it for a refusal",
    )
    min_patients_per_class: Annotated[int, Field(ge=2)] = Field(
        3,
        description="test patients of the rarest class that neither model was trained on; below, nothing is promoted. "
        "docs/statistics.md says which differences so many patients show",
    )


class HandoffParams(StrictParams):
    """Where accepted bundles go."""

    REMOVED: ClassVar[dict[str, str]] = renamed("handoff", keep="keep_last")

    target: str = Field("published", description="a folder, or a URL that fsspec knows (s3://..., sftp://...)")
    keep_last: Annotated[int, Field(ge=2)] = Field(10, description="newest bundles that stay there")

    @field_validator("target")
    @classmethod
    def _reject_password(cls, target: str) -> str:
        if "://" in target and (urlsplit(target).password is not None or "?" in target):
            # Neither params.yaml nor W&B, which is sent the params, is a place for it; nor is this message.
            raise PydanticCustomError("secret", "a password or token in it would be committed and sent to W&B; use "
                                      "environment variables, ~/.ssh or ~/.aws instead")  # fmt: skip
        return target


class TrackingParams(StrictParams):
    """Where W&B runs go. `auto`: online when WANDB_API_KEY is set, else offline."""

    project: str = "medtune"
    entity: str | None = None
    mode: Literal["auto", "offline", "online", "disabled"] = "auto"


def check_metric(key: str, name: str, known: list[str]) -> None:
    """Refuse a metric that the task does not have.

    Args:
        key: the params key that names it.
        name: as the user wrote it.
        known: the names to choose from.

    Raises:
        InputError: `name` is not in `known`.
    """
    if name not in known:
        raise InputError(f"{key}={name}: unknown metric{suggestion(name, known)}. Choose one of: {', '.join(known)}.")


class Params(StrictParams):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0)] = 1
    schedule: Schedule = "staged"
    final: Literal["ensemble", "refit"] = Field(
        "ensemble",
        description="the exported model. ensemble: the average of the networks of all folds; refit: one network, "
        "trained on all labeled images with the settings that the folds chose. docs/final_model.md",
    )
    task: Annotated[SerializeAsAny[TaskParams], _plugin_validator("medtune.tasks", "kind", "task")] = Field(
        {"kind": DEFAULT_TASK},  # type: ignore[arg-type]
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
            check_metric(key, getattr(getattr(self, section), name), known)
        return self

    @model_validator(mode="after")
    def _task_and_head_fit(self) -> "Params":
        check_task(self.task.kind, self.data)
        head = self.model.head
        check_head(head.kind, head.aggregation, head.solved, self.data.source, self.schedule, self.frozen.feature_views)
        return self

    @property
    def metric_choices(self) -> dict[str, list[str]]:
        """The metrics of the task to choose from, by the params key that names one."""
        metrics = registry.load_part("medtune.tasks", self.task.kind, "metrics", "task.kind").METRICS
        each_epoch = ["loss", *(metric.name for metric in metrics if metric.each_epoch)]
        return {
            "frozen.monitor": each_epoch,
            "finetune.monitor": each_epoch,
            "gate.metric": [one.name for one in metrics if one.no_interval is None and one.direction != "target"],
        }

    @property
    def training_stages(self) -> tuple[Literal["frozen", "finetune"], ...]:
        """The stages that this schedule trains, in the order they run."""
        return STAGES[self.schedule]

    @property
    def trained_networks(self) -> list[int]:
        """Test folds of the networks that are trained, in the order they are; `REFIT` is trained on all images."""
        return [*self.data.split.trained_folds, *([REFIT] if self.final == "refit" else [])]

    def learning_rates(self, stage: str) -> tuple[float, ...]:
        """The learning rates that a stage chooses from on validation, ascending; a solved head has no use for them."""
        name = self.model.head.kind if stage == "frozen" else self.model.peft.method
        rates = resolve(stage, getattr(self, stage).lr, name)
        return rates[:1] if stage == "frozen" and self.model.head.solved else rates

    def section(self, name: str) -> dict[str, Any]:
        """One section as plain JSON values, defaults written out: what a cache key hashes."""
        return getattr(self, name).model_dump(mode="json")
