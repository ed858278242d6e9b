"""Lineage of each stage's inputs and outputs in W&B: dataset -> models -> bundle.

Each W&B artifact is empty except for one reference, `medtune:<type>/<digest>`, and metadata without patients or paths.
W&B derives the version from the text of the reference. Equal content therefore always gets the same version. Images,
patient ids and weights stay in DVC and are never uploaded.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from medtune.data.manifest import PreparedDataset
from medtune.runtime.artifact import Artifact, digest
from medtune.serving.members import network_name
from medtune.tracking.redact import redact_paths
from medtune.tracking.run import Run

DATASET, MODEL, BUNDLE = "dataset", "model", "bundle"
# Keys of dataset.json that may be uploaded. `leaked_patients` lists patients, and sources may add further private keys.
DATASET_KEYS = (
    "name",
    "license",
    "classes",
    "protocol",
    "n_images",
    "n_patients",
    "patients_known",
    "counts",
    "image_size",
    "resize",
)
MODEL_KEYS = (
    "stage",
    "control",
    "fold",
    "kept",
    "best",
    "lr",
    "trainable",
    "images",
    "image_size",
    "classes",
    "data_digest",
)
BUNDLE_KEYS = ("folds", "parity", "data_digest", "files")


@dataclass(frozen=True)
class ArtifactVersion:
    """One version of a dataset, model or bundle.

    Attributes:
        name: name of the W&B collection that contains the versions.
        type: `dataset`, `model` or `bundle`.
        digest: digest of the content.
        metadata: facts that W&B shows next to the version.
    """

    name: str
    type: str
    digest: str
    metadata: dict[str, Any] = field(default_factory=dict)


def dataset_version(prepared: PreparedDataset) -> ArtifactVersion:
    """Return the version of the prepared dataset, derived from its pixels, labels, patients and split."""
    facts = {name: prepared.info[name] for name in DATASET_KEYS if name in prepared.info}
    facts |= {"digest": prepared.digest, "n_leaked_patients": len(prepared.info.get("leaked_patients") or [])}
    content = digest([prepared.digest, prepared.splits.tolist()])
    return ArtifactVersion(f"data-{_slug(str(prepared.info['name']))}", DATASET, content, facts)


def model_version(trained: Artifact) -> ArtifactVersion:
    """Return the version of a model that `frozen` or `finetune` published."""
    result = trained.result()
    facts = {name: result[name] for name in MODEL_KEYS if name in result} | {
        "key": trained.key,
        "sha256": trained.sha256,
    }
    model = result.get("params", {}).get("model", {})
    facts |= {"backbone": model.get("backbone"), "head": model.get("head", {}).get("kind"),
              "peft": model.get("peft", {}).get("method")}  # fmt: skip
    control = f"control {result['control']} " if "control" in result else ""
    name = f"{control}{result['stage']} {network_name(result['fold'])}".replace(" ", "-")
    return ArtifactVersion(name, MODEL, trained.sha256, facts)


def bundle_version(exported: Artifact) -> ArtifactVersion:
    """Return the version of a bundle that `export` published, with the SHA-256 checksums of its files."""
    result = exported.result()
    facts = {name: result[name] for name in BUNDLE_KEYS if name in result}
    return ArtifactVersion(
        "medtune-bundle", BUNDLE, exported.sha256, facts | {"key": exported.key, "sha256": exported.sha256}
    )


def log_inputs(run: Run, prepared: PreparedDataset, models: Iterable[Artifact] = ()) -> None:
    """Log the dataset and the models that a stage reads."""
    run.safely(lambda wandb_run: _log(wandb_run, dataset_version(prepared), used=True))
    for trained in models:
        run.safely(lambda wandb_run, trained=trained: _log(wandb_run, model_version(trained), used=True))  # type: ignore[misc]


def log_model(run: Run, trained: Artifact) -> None:
    """Log the model that a training stage published."""
    run.safely(lambda wandb_run: _log(wandb_run, model_version(trained), used=False))


def log_bundle(run: Run, exported: Artifact) -> None:
    """Log the bundle that stage export published."""
    run.safely(lambda wandb_run: _log(wandb_run, bundle_version(exported), used=False))


def _log(wandb_run: Any, version: ArtifactVersion, used: bool) -> None:
    """Log a version as an input (`used`) or as an output of the run."""
    import wandb
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry

    artifact = wandb.Artifact(version.name, type=version.type, metadata=redact_paths(version.metadata))
    reference = f"medtune:{version.type}/{version.digest}"
    # `add_reference` would print a warning that W&B cannot fetch and check this reference.
    artifact.manifest.add_entry(ArtifactManifestEntry(path=version.type, ref=reference, digest=reference))
    if not used:
        wandb_run.log_artifact(artifact)
        return
    # `use_artifact` rejects offline runs. In online runs, `use_artifact` makes the call below for new artifacts. This
    # call also works offline.
    # `is_user_created` keeps W&B from showing this run, which only reads the artifact, as its producer.
    wandb_run._log_artifact(artifact, aliases=[], is_user_created=True, use_after_commit=True)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:64]
