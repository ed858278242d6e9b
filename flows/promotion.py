"""From a trained chain to the accepted bundle: the gate's decision, and what follows from it."""

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
    from medtune.evaluation.gate import GateDecision
    from medtune.registry.git_dvc import GitDvcRepo

MANIFEST, DATA_RECORD = "data/prepared/manifest.csv", "data/prepared/result.json"


@dataclass(frozen=True)
class PromotionRecord:
    """A decision about one challenger.

    Attributes:
        name: the id that the challenger's bundle has, or would have had, in the target.
        key: cache key of its export.
        champion: id of the bundle it was compared with; None: the first.
        decision: the gate's.
        time: ISO 8601.
    """

    name: str
    key: str
    champion: str | None
    decision: "GateDecision"
    time: str

    @property
    def line(self) -> str:
        """The decision in one sentence."""
        return f"{self.verdict}: {'; '.join(self.decision.reasons)}"

    @property
    def verdict(self) -> str:
        """`promoted` or `rejection`."""
        return "promoted" if self.decision.promoted else "refused"

    def record(self) -> dict[str, Any]:
        """What the bundle and the history say of it."""
        found = self.decision.as_dict()
        figures = {side: found.pop(side) for side in ("challenger", "champion")}
        del found["promoted"]
        names = {"challenger": self.name, "key": self.key, "champion": self.champion}
        return {"time": self.time, "decision": self.verdict, **names, **found, "figures": figures}


def model_store(params: Params) -> ModelStore:
    """Where accepted bundles lie."""
    return open_store(params.handoff.target, PROJECT)


def git_tag(name: str) -> str:
    """The git tag of an accepted model."""
    return f"model-{name}"


def already_judged(paths: RunPaths, store: ModelStore) -> str | None:
    """What was decided about the bundle in artifacts/export against the present champion; None: nothing yet."""
    made, current = find_artifact(paths.stage("export")), store.current()
    if made is None or current is None:
        return None
    if bundle_document.read_manifest(store.fetch(current, paths.cache))["key"] == made.key:
        return f"{current} is the accepted model"
    for line in reversed(store.history()):
        if line.get("key") == made.key and current in (line.get("champion"), line.get("challenger")):
            return f"this model was {line['decision']} on {line['time'][:10]}"
    return None


def evaluate_challenger(
    params: Params, paths: RunPaths, store: ModelStore, repo: "GitDvcRepo", accept: str | None
) -> PromotionRecord:
    """Compares the bundle in artifacts/export with the champion's."""
    from medtune.evaluation.gate import rejection
    from medtune.registry.git_dvc import CommandError
    from medtune.stages import gate

    made = find_artifact(paths.stage("export"))
    assert made is not None
    current, now = store.current(), time.localtime()
    name = f"{time.strftime('%Y%m%d-%H%M%S', now)}-{made.key[:8]}"
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
    return PromotionRecord(name, made.key, current, decision, time.strftime("%Y-%m-%dT%H:%M:%S%z", now))


def _manifest(repo: "GitDvcRepo", name: str) -> str:
    """manifest.csv that the accepted model was trained with; neither DVC nor git looks at its bytes again.

    Raises:
        CommandError: the manifest or the result.json with its sha256 is missing, or the manifest has changed.
    """
    from medtune.registry.git_dvc import CommandError

    manifest, record = (repo.read_revision(git_tag(name), one) for one in (MANIFEST, DATA_RECORD))
    try:
        known = json.loads(record)["files"][Path(MANIFEST).name]
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"{DATA_RECORD} of {git_tag(name)} is damaged") from None
    if hashlib.sha256(manifest.encode()).hexdigest() != known:
        raise CommandError(f"{MANIFEST} of {git_tag(name)} is damaged in DVC's cache or remote")
    return manifest


def publish_bundle(params: Params, paths: RunPaths, store: ModelStore, outcome: PromotionRecord) -> None:
    """Puts the bundle into the target with the decision in it, makes it current, and clears away old ones."""
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
    kept = {outcome.name, outcome.champion}
    for name in store.bundles()[: -params.handoff.keep_last]:
        if name not in kept:
            store.remove(name)


def append_history(store: ModelStore, outcome: PromotionRecord) -> None:
    """Adds the decision to the target's history."""
    store.append_history(outcome.record())


def log_decision(params: Params, paths: RunPaths, outcome: PromotionRecord) -> None:
    """The decision as a W&B run of its own: figures in its summary, and the table `gate`."""
    from medtune.runtime.artifact import digest
    from medtune.tracking.run import start_run

    decision = outcome.decision
    key = digest([outcome.key, outcome.champion, outcome.time])
    with start_run("gate", key, digest(outcome.key), params, f"gate {outcome.name}") as run:
        ends = decision.difference
        run.summary(
            {
                "gate/promoted": int(decision.promoted),
                "gate/challenger": outcome.name,
                "gate/champion": outcome.champion,
                "gate/tolerance": decision.tolerance,
                "gate/difference": ends.value if ends else None,
                "gate/lo": ends.lo if ends else None,
                "gate/hi": ends.hi if ends else None,
                "gate/reasons": list(decision.reasons),
                "gate/n_patients": decision.n_patients,
                "gate/positive": decision.positive,
            }
        )
        rows = decision.rows()
        if rows:
            run.table("gate", list(rows[0]), [list(row.values()) for row in rows])


def markdown(outcome: PromotionRecord) -> str:
    """The decision as people read it, for Prefect's page of the run."""
    decision = outcome.decision
    lines = [f"## {outcome.verdict.capitalize()}", *(f"- {reason}" for reason in decision.reasons), ""]
    lines += [f"Challenger `{outcome.name}`, champion `{outcome.champion or 'none yet'}`; {decision.n_images} test "
              f"images of {decision.n_patients} patients whom neither was trained on.", ""]  # fmt: skip
    lines += [f"- positive class: {decision.positive}"] if decision.positive else []
    lines += [f"- {note}" for note in decision.notes]
    return "\n".join(lines)
