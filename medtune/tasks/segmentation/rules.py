"""Rules of a network that follow its prediction: post-processing and temperature, chosen on validation volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.serving.volumes.network_features import KEY, FeatureLimit
from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.calibration import (
    Temperature,
    TemperatureEvidence,
    fit_temperature,
    temperature_evidence,
)
from medtune.tasks.segmentation.component_choice import ComponentEffects, choose_components, component_effects
from medtune.tasks.segmentation.outputs import SegmentedVolumes

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


@dataclass(frozen=True)
class Evidence:
    """Validation volumes of one fold, or of several, from which rules are chosen.

    Attributes:
        effects: Dice with all components, and with only the largest component of each label.
        voxels: negative log-likelihood of the voxel samples by temperature.
    """

    effects: ComponentEffects
    voxels: TemperatureEvidence

    @classmethod
    def measure(cls, prepared: "PreparedDataset", rows: npt.NDArray[np.int64], outputs: SegmentedVolumes) -> "Evidence":
        """Compute the evidence of the validation volumes `rows` (n,) from their segmented volumes."""
        return cls(component_effects(prepared, rows, outputs), temperature_evidence(prepared, rows, outputs))

    @classmethod
    def pool(cls, parts: "Sequence[Evidence]") -> "Evidence":
        """Concatenate the volumes of several folds."""
        return cls(
            ComponentEffects.pool([part.effects for part in parts]),
            TemperatureEvidence.pool([part.voxels for part in parts]),
        )


@dataclass(frozen=True)
class Rules:
    """Post-processing and temperature of a network.

    Attributes:
        post_processing: removal of components.
        temperature: temperature of the probabilities, and the result of its fit.
        evidence: reasons for the post-processing, as JSON values.
        feature_limit: limit of the distance of network features from the training volumes; None if it is unknown.
    """

    post_processing: PostProcessing
    temperature: Temperature
    evidence: dict[str, Any]
    feature_limit: FeatureLimit | None = None

    @classmethod
    def choose(
        cls,
        effects: ComponentEffects,
        voxels: TemperatureEvidence,
        names: Sequence[str],
        task: Params,
        kind: str,
        limit: FeatureLimit | None = None,
    ) -> "Rules":
        """Choose the rules.

        Args:
            effects: Dice of the validation volumes with all components, and with only the largest ones.
            voxels: negative log-likelihood of the validation volumes by temperature.
            names: names of the labels.
            task: params of the task.
            kind: `evaluate.calibration`.
            limit: limit of the distance of network features.

        Returns:
            The rules.
        """
        post_processing, evidence = choose_components(effects, names, task)
        return cls(post_processing, fit_temperature(voxels, kind), evidence, limit)

    def calibrate(self, logits: Any) -> Any:
        """Return the argument unchanged. It consists of label maps, and `from_bundle` applies the rules."""
        return logits

    def decision(self) -> dict[str, Any]:
        """Return the decision rule of a model for JSON files.

        Returns:
            The fields of `PostProcessing`, `temperature`, `feature_limit`, `kind`, `chosen_on` and `evidence`.
        """
        return {
            "kind": "post_processing",
            **self.post_processing.document(),
            "temperature": self.temperature.value,
            KEY: self.feature_limit.document() if self.feature_limit else None,
            "chosen_on": "validation",
            "evidence": {**self.evidence, "calibration": self.temperature.document()},
        }

    def record(self) -> dict[str, Any]:
        """Return the rules for result.json, as JSON values."""
        return {"decision": self.decision()}


def stored_temperature(document: Mapping[str, Any]) -> float:
    """Return the temperature of a decision or of the entry `volumes` of bundle.json; 1 if it has none."""
    return float(document.get("temperature", 1.0))
