"""Steps of the export that differ for volumes (see `medtune.export.input_export`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import Params
from medtune.export import graph_input
from medtune.export.ensemble import Member
from medtune.export.volume_ensemble import VolumeEnsemble
from medtune.export.window_check import WindowCheck
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_name
from medtune.serving.members import REFIT
from medtune.serving.members import folds as folds_of
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.network_features import KEY
from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation.export import MIN_AGREEMENT
from medtune.tasks.segmentation.feature_space import FEATURES_FILE, FeatureSpace, read_space
from medtune.tasks.segmentation.inference import training_features
from medtune.tasks.segmentation.label_maps import FOLDER, file_name, output_suffix, read_label_map
from medtune.tasks.segmentation.unlike_training import measure_range

if TYPE_CHECKING:
    import onnxruntime

    from medtune.data.manifest import PreparedDataset


# Entries of dataset.json that are copied to bundle.json. Only data sets of 2D images have the last one.
FIELDS = ("spacing", "intensity", "channels", "patch", "images")


@dataclass(frozen=True)
class VolumeExport:
    """Steps of the export for volumes; see `medtune.export.input_export.InputExport`.

    Attributes:
        params: all params.
        prepared: the prepared data.
        evaluated: folder of stage evaluate, which has the feature spaces; None to export no features.
    """

    params: Params
    prepared: "PreparedDataset"
    evaluated: Path | None = None

    @property
    def source(self) -> graph_input.GraphInput:
        """Input of the graph: normalized windows."""
        info = self.prepared.info["volumes"]
        return graph_input.windows(len(info["channels"]), info["patch"])

    def fields(self, folds: Sequence[int], decision: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries `input` and `volumes` of bundle.json."""
        info, source = self.prepared.info["volumes"], self.source
        train = np.unique(np.concatenate([self.prepared.indices(fold)["train"] for fold in folds]))
        limit = decision.get(KEY) if self._spaces(folds) else None
        return {
            "input": {"name": source.name, "dtype": source.dtype, "layout": "NCXYZ", "orientation": "RAS",
                      "shape": ["N", *source.shape]},
            "volumes": {
                **{name: info[name] for name in FIELDS if name in info},
                "overlap": getattr(self.params.task, "overlap"),  # noqa: B009
                "mirror_views": list(getattr(self.params.task, "mirror_views")),  # noqa: B009
                "temperature": float(decision.get("temperature", 1.0)),
                "post_processing": post_processing(decision),
                "training_range": measure_range(self.prepared, train).document(),
                **({KEY: limit} if limit else {}),
            },
        }  # fmt: skip

    def combine(self, members: Sequence[Member], document: Mapping[str, Any]) -> VolumeEnsemble:
        """Return the ensemble. It computes features if the document has a limit for them."""
        spaces: list[FeatureSpace] = []
        if KEY in document["volumes"]:
            found = self._spaces(folds_of(document))
            spaces = [space or self._refit_space(member) for space, member in zip(found, members, strict=True)]
        return VolumeEnsemble(members, document["output"]["name"], spaces)

    def _spaces(self, folds: Sequence[int]) -> "list[FeatureSpace | None]":
        """Return the space of each network; None for a refit network, and no space if that of another is unknown."""
        if self.evaluated is None:
            return []
        found = [read_space(self.evaluated / FEATURES_FILE, fold) for fold in folds]
        missing = any(space is None and fold != REFIT for space, fold in zip(found, folds, strict=True))
        return [] if missing else found

    def _refit_space(self, member: Member) -> "FeatureSpace":
        """Compute the space of a network that was trained on all volumes. Stage evaluate does not use this network."""
        task: Any = self.params.task
        features = training_features(self.prepared, REFIT, member.network, device_name(), task.overlap, task.views)
        return FeatureSpace.fit(features)

    def check(self, model: Any, tested: Sequence[int], document: dict[str, Any]) -> WindowCheck:
        """Return the parity check on windows of test volumes and on complete test volumes."""
        rows = np.unique(np.concatenate([self.prepared.indices(fold)["test"] for fold in tested]))
        return WindowCheck.build(
            model, self.prepared, rows, document, self.params.export.parity_images, self.params.seed
        )

    def calibration(self, folds: Sequence[int]) -> np.ndarray:
        """Raise ValueError, because int8 is not supported for volumes."""
        raise ValueError("int8 is not supported for volumes. Remove it from export.precisions")

    def open(self, folder: Path, document: dict[str, Any], session: "onnxruntime.InferenceSession") -> VolumeBundle:
        """Return the bundle of an open fp32 session."""
        return VolumeBundle(folder, document, "fp32", session)

    def load(self, folder: Path, precision: str) -> VolumeBundle:
        """Load a finished bundle."""
        return VolumeBundle.load(folder, precision)

    def compare_predictions(
        self, check: Any, bundle: Any, folds: Sequence[int], evaluated: Artifact
    ) -> dict[str, Any] | None:
        """Compare the label maps of the bundle with those of stage evaluate, after post-processing.

        Each compared volume is segmented with the network of its test fold.

        Returns:
            JSON values, or None if no label map was found.

        Raises:
            RuntimeError: too many voxels have different labels.
        """
        agreements = {}
        for row in check.rows:
            member = next((k for k, fold in enumerate(folds) if row in self.prepared.indices(fold)["test"]), None)
            path = _label_map(evaluated.folder / FOLDER, self.prepared.paths[row], output_suffix(self.prepared))
            if member is None or path is None:
                continue
            (labels,) = check.segment_all(partial(bundle.run_member, member=member), [row], "export: label map")
            rule = post_processing(check.document["members"][member].get("decision", {}))
            n_labels, spacing = len(self.prepared.classes), self.prepared.volumes.entries[row].spacing
            labels = PostProcessing.from_document(rule).apply(labels, n_labels, spacing)
            agreements[path.name] = float((labels == read_label_map(path, n_labels)).mean())
        if not agreements:
            return None
        worst = min(agreements, key=agreements.__getitem__)
        if agreements[worst] < MIN_AGREEMENT:
            raise RuntimeError(
                f"export: only {100 * agreements[worst]:.3f} % of the voxels of {FOLDER}/{worst} have the label that "
                f"the bundle predicts, but {100 * MIN_AGREEMENT:g} % are needed"
            )
        return {"against": FOLDER, "volumes": len(agreements), "label_agreement_min": agreements[worst]}


def _label_map(folder: Path, path: str, suffix: str) -> Path | None:
    """Return the file of the label map of a volume. None if it does not exist, or if volumes share its name."""
    name = file_name(path)
    found = folder / f"{name}{suffix}"
    return found if found.is_file() and not (folder / f"{name}-2{suffix}").exists() else None


def post_processing(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the post-processing from a decision of stage evaluate, without its other fields."""
    return PostProcessing.from_document({**PostProcessing().document(), **decision}).document()
