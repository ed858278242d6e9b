"""Retraining: fetch new data and code, train, compare with the accepted model, publish the better one.

Works on the checkout alone: params.yaml, what DVC tracks, and git. One run at a time; a run that dies leaves the
accepted model as it is, and the next one goes on where it was cut.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.data import fold_assignments
from medtune.flows import environment, pipeline, promotion, records
from medtune.registry.git_dvc import Checkout, CommandFailed
from medtune.runtime import console
from medtune.runtime.lock import holding
from medtune.runtime.logfile import logfile
from medtune.runtime.paths import Paths
from medtune.serving.one_line import first_line

log = logging.getLogger("medtune.flow")

CODE = (".py", ".lock")  # what a running process has read already
AGAIN = "code changed"


@dataclass(frozen=True)
class How:
    """What carries the steps out: plain calls, or Prefect.

    Attributes:
        step: calls a function under a name.
        train: trains, evaluates and exports: how every step of the chain went.
        show: publishes a decision where people look.
        began: called once the checkout is this run's own.
    """

    step: Callable[..., Any]
    train: Callable[[Params, Paths], list[pipeline.Done]]
    show: Callable[[promotion.Outcome], None]
    began: Callable[[], None] = lambda: None


def run(how: How, accept: str | None = None) -> str:
    """One retraining; gives how it ended, in a sentence, or `AGAIN` where new code must be loaded first.

    Args:
        how: what carries the steps out.
        accept: a person's reason to hand over what the gate would refuse.

    Raises:
        InputError: params, data or checkout are not as they must be.
        CommandFailed: git or dvc failed.
        BundleError: the target cannot be used.
    """
    paths, checkout = Paths.at(), Checkout(PROJECT)
    load()
    with holding(paths), logfile(paths.cache / "logs", "retrain"):
        how.began()
        checkout.check()
        before = checkout.head()
        for line in how.step("pull", checkout.pull):
            pipeline.note(f"retrain: {line}")
        changed = [name for name in checkout.changed_files(before) if name.endswith(CODE)]
        if any(name.endswith(".lock") and name.startswith("requirements/") for name in changed):
            raise InputError(f"{changed[0]} changed: run `make setup`, then start the services anew")
        if changed:
            return AGAIN
        return _with_data(how, checkout, paths, accept)


def _with_data(how: How, checkout: Checkout, paths: Paths, accept: str | None) -> str:
    from medtune.data.manifest import load_prepared
    from medtune.stages import data

    params = load()
    if params.data.split.test_fold == "all":
        raise InputError("data.split.test_fold is all: retraining compares models on one test fold; name it, 1 say")
    target = promotion.target(params)
    how.step("data", data.run, params, paths)
    prepared = load_prepared(paths.prepared)
    complete = pipeline.complete(params, paths, prepared)
    if complete and not accept and (judged := promotion.judged(paths, target)):
        line = f"nothing changed in data, params and code: {judged}"
        pipeline.note(f"retrain: {line}")
        return line
    if not complete:
        from medtune.models.backbones import check

        check(params)
    steps = how.train(params, paths)
    records.to_wandb(params, paths, pipeline.pipeline_key(params, prepared), steps)
    pipeline.tidy(params, paths)
    outcome = how.step("gate", promotion.decide, params, paths, target, checkout, accept)
    if outcome.decision.promoted:
        folds = fold_assignments.read(fold_assignments.place(paths), params.data.source, params.data.split.folds)
        if params.data.split.protocol == "patient":
            folds.write(fold_assignments.place(paths), prepared.groups.tolist(), prepared.folds.tolist())
        how.step("record", checkout.record, promotion.tag(outcome.name), f"Retrain: {outcome.line}")
        how.step("publish", promotion.publish, params, paths, target, outcome)
    promotion.note(target, outcome)
    how.show(outcome)
    promotion.track(params, paths, outcome)
    pipeline.note(f"retrain: {outcome.line}")
    return outcome.line


def direct() -> How:
    """Plain calls, without Prefect."""
    from medtune.flows.train import direct as train

    def step(name: str, function: Callable[..., Any], *args: Any) -> Any:
        pipeline.note(f"retrain: {name}")
        return function(*args)

    def trained(params: Params, paths: Paths) -> list[pipeline.Done]:
        from medtune.stages.preflight import ready

        return train(params, paths, ready(params, paths))

    return How(step, trained, lambda outcome: None)


def retrain(prefect: bool = True, accept: str | None = None) -> None:
    """Fetch what is new, train, compare with the accepted model, hand over what is better.

    Exits 0 when it is done (also where the new model was refused, or nothing had changed), 1 when a step failed,
    2 when the input was wrong. The accepted model stays until a better one is there whole.
    """
    from medtune.serving.manifest import BundleError

    try:
        ended = _with_prefect(accept) if prefect else run(direct(), accept)
    except BundleError as error:
        raise InputError(str(error)) from error
    except (pipeline.StageFailed, CommandFailed) as failure:
        log.error("%s", "".join(traceback.format_exception(failure)))
        print(f"error: {failure} (run again to resume; logs in {Paths.at().cache / 'logs'})", file=sys.stderr)
        raise SystemExit(1) from None
    if ended == AGAIN:
        console.say("retrain: the code changed: starting again with it")
        os.execv(sys.executable, [sys.executable, "-m", "medtune", *sys.argv[1:]])


def _with_prefect(accept: str | None) -> str:
    environment.prepare(Paths.at().cache)
    from medtune.flows import scheduled, server
    from medtune.serving.manifest import BundleError

    name = f"by hand {time.strftime('%H:%M:%S')}"
    try:
        with server.connected(Paths.at().cache):
            try:
                return scheduled.retrain.with_options(flow_run_name=name)(accept)
            finally:
                server.settle(name)
    except (pipeline.StageFailed, CommandFailed, InputError, BundleError):
        raise
    except Exception as error:  # a fault of Prefect's, of whatever type, must not cost a training run
        log.warning("Prefect failed", exc_info=True)
        pipeline.note(f"Prefect: {first_line(error, with_type=True)}; going on without it")
        return run(direct(), accept)
