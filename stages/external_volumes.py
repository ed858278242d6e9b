"""Evaluation of a bundle on external data: the steps that differ for volumes (see stages/external_input.py)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.external import ExternalParams
from medtune.config.schema import EvaluateParams
from medtune.data.wording import wording
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.document import VolumeSettings
from medtune.stages.external_input import ExternalInput
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.external_volumes import ExternalVolumes
    from medtune.data.manifest import PreparedDataset


class VolumeInput(ExternalInput):
    """The steps for bundles that segment volumes."""

    def params(self, data: Path, sets: Sequence[str]) -> ExternalParams:
        """Return the params."""
        from medtune.data.external_volume_params import external_volume_params

        return external_volume_params(self.document, data, sets)

    def listing(self, params: ExternalParams) -> "ExternalVolumes":
        """List the volumes and check their labels and channels."""
        from medtune.data.external_volumes import list_volumes
        from medtune.data.volume_params import VolumeParams

        assert isinstance(params.data, VolumeParams)  # `external_volume_params` guarantees this
        classes, images = self.document["classes"], self.document[VOLUMES].get("images")
        channels = VolumeSettings.from_document(self.document).channels
        return list_volumes(params.data, classes, channels, params.label_map, params.channel_names, images)

    def load(self, precision: str, provider: str) -> VolumeBundle:
        """Load the bundle."""
        return VolumeBundle.load(self.folder, precision, provider)

    def prepare(
        self, listing: "ExternalVolumes", params: ExternalParams, bundle: VolumeBundle, folder: Path, name: str
    ) -> "PreparedDataset":
        """Check all volumes, then normalize and resample them."""
        from medtune.data.external_volumes import prepare_external_volumes
        from medtune.data.volume_params import VolumeParams

        assert isinstance(params.data, VolumeParams)
        return prepare_external_volumes(listing, params.data, bundle.settings, folder, name, self.targets)

    def outputs(self, bundle: VolumeBundle, prepared: "PreparedDataset", options: EvaluateParams, folder: Path) -> Any:
        """Predict the label maps."""
        task: Any = base.evaluation(self.document["task"]["kind"])
        return task.bundle_outputs(bundle, prepared, folder)

    def rule(self, bundle: VolumeBundle) -> str:
        """Describe the post-processing."""
        return str(bundle.task.rule(self.document)).rstrip(".")

    def facts(self, bundle: VolumeBundle, prepared: "PreparedDataset", predictions: Any) -> dict[str, Any]:
        """Return the volumes per label, those that differ from the training volumes, and results of the controls."""
        from medtune.data.external import class_counts
        from medtune.evaluation.control_comparison import training_controls

        flagged = zip(prepared.paths, predictions.flags, strict=True)
        found = [{"volume": path, "differences": list(phrases)} for path, phrases in flagged if phrases]
        controls = training_controls(self.document)
        return {"volumes_by_label": class_counts(prepared), "unlike_training": found, "training_controls": controls}

    def warnings(self, facts: Mapping[str, Any]) -> list[str]:
        """Return a warning about the volumes that differ from the training volumes."""
        found, words = facts["unlike_training"], wording(self.document)
        if not found:
            return []
        return [
            f"{words.items.capitalize()} that differ from the training {words.items} in spacing, field of view, "
            f"intensity or network features: {len(found):,} "
            f"(first: {found[0]['volume']}, {found[0]['differences'][0]}). The report lists them."
        ]
