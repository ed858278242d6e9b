"""What a stage reads and writes, on W&B's record: data set -> models -> bundle.

Each is a W&B artifact without a byte in it: one reference, `medtune:<type>/<digest>`, and facts that name no patient
and no path. W&B makes a version of a reference's text, so the same content is the same version, whoever logs it,
however often. Images, patient ids and weights stay where DVC keeps them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from medtune.data.manifest import Prepared
from medtune.runtime.artifact import Artifact, digest
from medtune.tracking.redact import without_paths
from medtune.tracking.run import Run

DATASET, MODEL, BUNDLE = "dataset", "model", "bundle"
# Of dataset.json: no leaked_groups, which are patients, nothing that a source adds of its own.
OF_DATA = ("name", "licence", "classes", "protocol", "n_images", "n_groups", "groups_known", "counts", "image_size",
           "resize")  # fmt: skip
OF_MODEL = ("stage", "fold", "kept", "best", "trainable", "images", "image_size", "classes", "data_digest")
OF_BUNDLE = ("fold", "parity", "data_digest", "files")


@dataclass(frozen=True)
class Version:
    """One version of what stages hand on.

    Attributes:
        name: of the collection that W&B keeps the versions in.
        type: dataset, model or bundle.
        digest: of the content.
        facts: shown with it.
    """

    name: str
    type: str
    digest: str
    facts: dict[str, Any] = field(default_factory=dict)


def of_data(prepared: Prepared) -> Version:
    """The prepared set: its pixels, labels, patients and split make the version."""
    facts = {name: prepared.info[name] for name in OF_DATA if name in prepared.info}
    facts |= {"digest": prepared.digest, "n_leaked_groups": len(prepared.info.get("leaked_groups") or [])}
    content = digest([prepared.digest, prepared.roles.tolist()])
    return Version(f"data-{_plain(str(prepared.info['name']))}", DATASET, content, facts)


def of_model(trained: Artifact) -> Version:
    """A trained chain, as `frozen` or `finetune` published it."""
    result = trained.result()
    facts = {name: result[name] for name in OF_MODEL if name in result} | {"key": trained.key, "sha256": trained.sha256}
    model = result.get("params", {}).get("model", {})
    facts |= {"backbone": model.get("backbone"), "head": model.get("head", {}).get("kind"),
              "peft": model.get("peft", {}).get("method")}  # fmt: skip
    return Version(f"{result['stage']}-fold-{result['fold']}", MODEL, trained.sha256, facts)


def of_bundle(exported: Artifact) -> Version:
    """The bundle that `export` published; its facts hold the sha256 of every file in it."""
    result = exported.result()
    facts = {name: result[name] for name in OF_BUNDLE if name in result}
    return Version("medtune-bundle", BUNDLE, exported.sha256, facts | {"key": exported.key, "sha256": exported.sha256})


def uses(run: Run, prepared: Prepared, models: Iterable[Artifact] = ()) -> None:
    """Records what a stage reads; models in any order."""
    run.attempt(lambda wandb_run: _log(wandb_run, of_data(prepared), used=True))
    for trained in models:
        run.attempt(lambda wandb_run, trained=trained: _log(wandb_run, of_model(trained), used=True))  # type: ignore[misc]


def made_model(run: Run, trained: Artifact) -> None:
    """Records what a training stage published."""
    run.attempt(lambda wandb_run: _log(wandb_run, of_model(trained), used=False))


def made_bundle(run: Run, exported: Artifact) -> None:
    """Records what export published."""
    run.attempt(lambda wandb_run: _log(wandb_run, of_bundle(exported), used=False))


def _log(wandb_run: Any, version: Version, used: bool) -> None:
    import wandb
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry

    artifact = wandb.Artifact(version.name, type=version.type, metadata=without_paths(version.facts))
    reference = f"medtune:{version.type}/{version.digest}"
    # add_reference would warn on the user's screen that it cannot fetch this reference and check it.
    artifact.manifest.add_entry(ArtifactManifestEntry(path=version.type, ref=reference, digest=reference))
    if not used:
        wandb_run.log_artifact(artifact)
        return
    # use_artifact refuses offline runs; what it does with an artifact made here is this call, which works in both.
    # is_user_created: this run reads the artifact, so W&B must not draw it as the run that made it.
    wandb_run._log_artifact(artifact, aliases=[], is_user_created=True, use_after_commit=True)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:64]
