"""What a stage reads and writes, on W&B's record: data set -> models -> bundle.

Each is a W&B artifact without a byte in it: one reference, `medtune:<type>/<digest>`, and facts that name no patient
and no path. W&B makes a version of a reference's text, so the same content is the same version, whoever logs it,
however often. Images, patient ids and weights stay where DVC keeps them.
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
# Of dataset.json: no leaked_groups, which are patients, nothing that a source adds of its own.
DATASET_KEYS = (
    "name",
    "licence",
    "classes",
    "protocol",
    "n_images",
    "n_groups",
    "groups_known",
    "counts",
    "image_size",
    "resize",
)
MODEL_KEYS = ("stage", "fold", "kept", "best", "lr", "trainable", "images", "image_size", "classes", "data_digest")
BUNDLE_KEYS = ("folds", "parity", "data_digest", "files")


@dataclass(frozen=True)
class ArtifactVersion:
    """One version of what stages hand on.

    Attributes:
        name: of the collection that W&B keeps the versions in.
        type: dataset, model or bundle.
        digest: of the content.
        metadata: shown with it.
    """

    name: str
    type: str
    digest: str
    metadata: dict[str, Any] = field(default_factory=dict)


def dataset_version(prepared: PreparedDataset) -> ArtifactVersion:
    """The prepared set: its pixels, labels, patients and split make the version."""
    facts = {name: prepared.info[name] for name in DATASET_KEYS if name in prepared.info}
    facts |= {"digest": prepared.digest, "n_leaked_groups": len(prepared.info.get("leaked_groups") or [])}
    content = digest([prepared.digest, prepared.splits.tolist()])
    return ArtifactVersion(f"data-{_slug(str(prepared.info['name']))}", DATASET, content, facts)


def model_version(trained: Artifact) -> ArtifactVersion:
    """A trained chain, as `frozen` or `finetune` published it."""
    result = trained.result()
    facts = {name: result[name] for name in MODEL_KEYS if name in result} | {
        "key": trained.key,
        "sha256": trained.sha256,
    }
    model = result.get("params", {}).get("model", {})
    facts |= {"backbone": model.get("backbone"), "head": model.get("head", {}).get("kind"),
              "peft": model.get("peft", {}).get("method")}  # fmt: skip
    name = f"{result['stage']} {network_name(result['fold'])}".replace(" ", "-")
    return ArtifactVersion(name, MODEL, trained.sha256, facts)


def bundle_version(exported: Artifact) -> ArtifactVersion:
    """The bundle that `export` published; its facts hold the sha256 of every file in it."""
    result = exported.result()
    facts = {name: result[name] for name in BUNDLE_KEYS if name in result}
    return ArtifactVersion(
        "medtune-bundle", BUNDLE, exported.sha256, facts | {"key": exported.key, "sha256": exported.sha256}
    )


def log_inputs(run: Run, prepared: PreparedDataset, models: Iterable[Artifact] = ()) -> None:
    """Records what a stage reads; models in any order."""
    run.safely(lambda wandb_run: _log(wandb_run, dataset_version(prepared), used=True))
    for trained in models:
        run.safely(lambda wandb_run, trained=trained: _log(wandb_run, model_version(trained), used=True))  # type: ignore[misc]


def log_model(run: Run, trained: Artifact) -> None:
    """Records what a training stage published."""
    run.safely(lambda wandb_run: _log(wandb_run, model_version(trained), used=False))


def log_bundle(run: Run, exported: Artifact) -> None:
    """Records what export published."""
    run.safely(lambda wandb_run: _log(wandb_run, bundle_version(exported), used=False))


def _log(wandb_run: Any, version: ArtifactVersion, used: bool) -> None:
    import wandb
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry

    artifact = wandb.Artifact(version.name, type=version.type, metadata=redact_paths(version.metadata))
    reference = f"medtune:{version.type}/{version.digest}"
    # add_reference would warn on the user's screen that it cannot fetch this reference and check it.
    artifact.manifest.add_entry(ArtifactManifestEntry(path=version.type, ref=reference, digest=reference))
    if not used:
        wandb_run.log_artifact(artifact)
        return
    # use_artifact refuses offline runs; what it does with an artifact made here is this call, which works in both.
    # is_user_created: this run reads the artifact, so W&B must not draw it as the run that made it.
    wandb_run._log_artifact(artifact, aliases=[], is_user_created=True, use_after_commit=True)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:64]
