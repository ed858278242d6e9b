"""Promotion of a new model: the decision of the gate, the publication and the history of decisions.

The champion is the accepted model, which is currently in use. The challenger is the newly trained model. The gate
compares both on test images (stages/gate.py). Models are published as bundles in the model store.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.registry.store import ModelStore, open_store
from medtune.runtime.artifact import file_sha256, find_artifact, write_text
from medtune.runtime.paths import RunPaths
from medtune.serving import manifest as bundle_document

if TYPE_CHECKING:
    from medtune.evaluation.gate_decision import GateDecision
    from medtune.registry.git_dvc import GitDvcRepo

MANIFEST, DATA_RECORD = "data/prepared/manifest.csv", "data/prepared/result.json"


@dataclass(frozen=True)
class PromotionRecord:
    """Decision about a challenger.

    Attributes:
        name: id of the challenger. If the challenger is promoted, its bundle has this name in the model store.
        key: cache key of the challenger's export.
        champion: id of the champion; None if no model has been accepted yet.
        decision: decision of the gate.
        time: time of the decision, ISO 8601.
    """

    name: str
    key: str
    champion: str | None
    decision: "GateDecision"
    time: str

    @property
    def line(self) -> str:
        """Decision with its reasons on one line."""
        return f"{self.verdict}: {'; '.join(self.decision.reasons)}"

    @property
    def verdict(self) -> str:
        """Verdict: `promoted` or `refused`."""
        return "promoted" if self.decision.promoted else "refused"

    def record(self) -> dict[str, Any]:
        """Return the decision as JSON values, for bundle.json and the history."""
        decision = self.decision.as_dict()
        metrics = {side: decision.pop(side) for side in ("challenger", "champion")}
        del decision["promoted"]
        names = {"challenger": self.name, "key": self.key, "champion": self.champion}
        return {"time": self.time, "decision": self.verdict, **names, **decision, "metrics": metrics}


def model_store(params: Params) -> ModelStore:
    """Open the store of accepted bundles."""
    return open_store(params.handoff.target, PROJECT)


def git_tag(name: str) -> str:
    """Return the git tag of an accepted model."""
    return f"model-{name}"


def already_judged(paths: RunPaths, store: ModelStore) -> str | None:
    """Find an earlier decision about the bundle in artifacts/export and the current champion.

    Args:
        paths: where the bundle is.
        store: store of accepted bundles.

    Returns:
        The decision as a clause. None if no such decision exists, or if there is no bundle or no champion.
    """
    exported, current = find_artifact(paths.stage("export")), store.current()
    if exported is None or current is None:
        return None
    if bundle_document.read_manifest(store.fetch(current, paths.cache))["key"] == exported.key:
        return f"{current} is the accepted model"
    for entry in reversed(store.history()):
        if entry.get("key") == exported.key and current in (entry.get("champion"), entry.get("challenger")):
            return f"this model was {entry['decision']} on {entry['time'][:10]}"
    return None


def evaluate_challenger(
    params: Params, paths: RunPaths, store: ModelStore, repo: "GitDvcRepo", accept: str | None
) -> PromotionRecord:
    """Compare the bundle in artifacts/export with the champion.

    Args:
        params: all params.
        paths: where the bundle and the data are.
        store: store of accepted bundles.
        repo: repository whose tags record the training data of each accepted model.
        accept: reason for promoting the challenger even if the gate rejects it; None to follow the gate.

    Returns:
        The decision.
    """
    from medtune.evaluation.gate import rejection
    from medtune.registry.git_dvc import CommandError
    from medtune.stages import gate

    exported = find_artifact(paths.stage("export"))
    assert exported is not None
    current, now = store.current(), time.localtime()
    name = f"{time.strftime('%Y%m%d-%H%M%S', now)}-{exported.key[:8]}"
    try:
        champion = None
        if current:
            manifest = _manifest(repo, current)
            champion = gate.Champion(current, store.fetch(current, paths.cache), manifest)
        decision = gate.run(params, paths, champion)
    except CommandError as error:
        decision = rejection([f"the training data of the champion is missing: {error}"], params.gate)
    if accept and not decision.promoted:
        decision = replace(decision, promoted=True, reasons=(f"accepted by hand: {accept}", *decision.reasons))
    return PromotionRecord(name, exported.key, current, decision, time.strftime("%Y-%m-%dT%H:%M:%S%z", now))


def _manifest(repo: "GitDvcRepo", name: str) -> str:
    """Read manifest.csv of the accepted model's training data, and verify its checksum.

    DVC and git do not verify the checksum.

    Args:
        repo: repository with the git tags of the accepted models.
        name: id of the accepted model.

    Returns:
        The content of manifest.csv.

    Raises:
        CommandError: manifest.csv or result.json is missing, or the checksum in result.json does not match.
    """
    from medtune.registry.git_dvc import CommandError

    manifest, record = (repo.read_revision(git_tag(name), file) for file in (MANIFEST, DATA_RECORD))
    try:
        expected = json.loads(record)["files"][Path(MANIFEST).name]
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"{DATA_RECORD} of {git_tag(name)} is damaged") from None
    if hashlib.sha256(manifest.encode()).hexdigest() != expected:
        raise CommandError(f"{MANIFEST} of {git_tag(name)} is damaged in DVC's cache or remote")
    return manifest


def publish_bundle(params: Params, paths: RunPaths, store: ModelStore, outcome: PromotionRecord) -> None:
    """Upload the bundle with the decision, make it the current bundle, and remove old bundles.

    Args:
        params: all params. The newest `handoff.keep_last` bundles and the previous champion are kept.
        paths: where the bundle is.
        store: store of accepted bundles.
        outcome: the decision.
    """
    source, work = paths.stage("export"), paths.cache / "handoff" / f".{outcome.name}.outgoing"
    document = bundle_document.read_manifest(source)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in document["files"]:
        shutil.copyfile(source / name, work / name)
        assert file_sha256(work / name) == document["files"][name]
    write_text(
        work / bundle_document.MANIFEST_FILE, bundle_document.dump_manifest({**document, "gate": outcome.record()})
    )
    store.upload(work, outcome.name)
    store.set_current(outcome.name)
    shutil.rmtree(work)
    protected = {outcome.name, outcome.champion}
    for name in store.bundles()[: -params.handoff.keep_last]:
        if name not in protected:
            store.remove(name)


def append_history(store: ModelStore, outcome: PromotionRecord) -> None:
    """Append the decision to the history of the model store."""
    store.append_history(outcome.record())


def log_decision(params: Params, paths: RunPaths, outcome: PromotionRecord) -> None:
    """Log the decision as a W&B run, with its fields in the summary and the metrics in the table `gate`."""
    from medtune.runtime.artifact import digest
    from medtune.tracking.run import start_run

    decision = outcome.decision
    key = digest([outcome.key, outcome.champion, outcome.time])
    with start_run("gate", key, digest(outcome.key), params, f"gate {outcome.name}") as run:
        difference = decision.difference
        run.summary(
            {
                "gate/promoted": int(decision.promoted),
                "gate/challenger": outcome.name,
                "gate/champion": outcome.champion,
                "gate/min_improvement": decision.min_improvement,
                "gate/difference": difference.value if difference else None,
                "gate/lo": difference.lo if difference else None,
                "gate/hi": difference.hi if difference else None,
                "gate/reasons": list(decision.reasons),
                "gate/n_patients": decision.n_patients,
                "gate/positive": decision.positive,
            }
        )
        rows = decision.rows()
        if rows:
            run.table("gate", list(rows[0]), [list(row.values()) for row in rows])


def markdown(outcome: PromotionRecord) -> str:
    """Format the decision as Markdown for Prefect's page of the run."""
    decision = outcome.decision
    lines = [f"## {outcome.verdict.capitalize()}", *(f"- {reason}" for reason in decision.reasons), ""]
    lines += [f"Challenger `{outcome.name}`, champion `{outcome.champion or 'none yet'}`; {decision.n_images} test "
              f"images of {decision.n_patients} patients that neither model has seen.", ""]  # fmt: skip
    lines += [f"- positive class: {decision.positive}"] if decision.positive else []
    lines += [f"- {note}" for note in decision.notes]
    return "\n".join(lines)
