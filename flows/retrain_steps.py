"""Steps of a retraining: fetch data and code, train, compare with the accepted model, publish the better model.

A retraining reads only the checkout: params.yaml, files tracked by DVC, and git. Only one retraining runs at a time. A
crash does not affect the accepted model, and the next retraining resumes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.data import fold_assignments
from medtune.flows import pipeline, promotion
from medtune.registry.git_dvc import GitDvcRepo
from medtune.runtime.lock import output_lock
from medtune.runtime.logfile import logfile
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Steps

CODE = (".py", ".lock")  # changes to these files require a restart
RESTART_REQUIRED = "code changed"


@dataclass(frozen=True)
class Executor:
    """Execution of the steps, either by plain calls or with Prefect.

    Attributes:
        step: function of a name, a function and its arguments. It calls the function as a step of this name.
        train: function that trains, evaluates and exports, and returns one result per step.
        show: function that displays the decision about the new model.
        on_start: function that is called after the checkout is locked.
    """

    step: Callable[..., Any]
    train: Callable[[Steps], list[pipeline.StepResult]]
    show: Callable[[promotion.PromotionRecord], None]
    on_start: Callable[[], None] = lambda: None


def run(executor: Executor, accept: str | None = None) -> str:
    """Run one retraining.

    Args:
        executor: execution of the steps.
        accept: reason for publishing the new model even if the gate rejects it; None to follow the gate.

    Returns:
        The outcome in one sentence, or `RESTART_REQUIRED` if the process must restart with new code.

    Raises:
        InputError: the params, the data or the checkout are invalid, or the required packages changed.
        StageError: training, evaluation or export failed.
        CommandError: git or dvc failed.
        BundleError: the model store cannot be used.
    """
    paths, repo = RunPaths.from_env(), GitDvcRepo(PROJECT)
    check_final(load())
    with output_lock(paths), logfile(paths.cache / "logs", "retrain"):
        executor.on_start()
        repo.require_recordable()
        before = repo.head()
        for line in executor.step("pull", repo.pull):
            pipeline.log_line(f"retrain: {line}")
        changed = [name for name in repo.changed_files(before) if name.endswith(CODE)]
        if any(name.endswith(".lock") and name.startswith("requirements/") for name in changed):
            raise InputError(f"{changed[0]} has changed. Run `make setup`, then restart the services")
        if changed:
            return RESTART_REQUIRED
        return _with_data(executor, repo, paths, accept)


def check_final(params: Params) -> None:
    """Check that the gate can compare the model, which needs patients that a network has not seen.

    Args:
        params: all params.

    Raises:
        InputError: `final` is `refit`: the network would be trained on all patients.
    """
    if params.final == "refit":
        raise InputError(
            "final=refit: the gate compares networks on patients that they have not seen, but a refit network has "
            "seen all patients. Use final=ensemble"
        )


def _with_data(executor: Executor, repo: GitDvcRepo, paths: RunPaths, accept: str | None) -> str:
    """Run the steps that follow the fetch of data and code, and return the outcome in one sentence."""
    from medtune.flows import train
    from medtune.stages import data

    params = load()
    store = promotion.model_store(params)
    executor.step("data", data.run, params, paths)
    steps = Steps(params, paths)
    complete = pipeline.is_complete(steps)
    if complete and not accept and (judged := promotion.already_judged(paths, store)):
        line = f"nothing changed in data, params and code: {judged}"
        pipeline.log_line(f"retrain: {line}")
        return line
    if not complete:
        from medtune.stages.dry_run import check_network

        check_network(params, paths, steps.prepared)
    train.finish(steps, executor.train(steps))
    outcome: promotion.PromotionRecord = executor.step(
        "gate", promotion.evaluate_challenger, params, paths, store, repo, accept
    )
    if outcome.decision.promoted:
        folds = fold_assignments.read_assignments(
            fold_assignments.assignments_path(paths), params.data.source, params.data.split.folds
        )
        if params.data.split.protocol == "patient":
            prepared = steps.prepared
            folds.write(
                fold_assignments.assignments_path(paths), prepared.patient_ids.tolist(), prepared.folds.tolist()
            )
        executor.step("record", repo.commit_and_push, promotion.git_tag(outcome.name), f"Retrain: {outcome.line}")
        executor.step("publish", promotion.publish_bundle, params, paths, store, outcome)
    promotion.append_history(store, outcome)
    executor.show(outcome)
    promotion.log_decision(params, paths, outcome)
    pipeline.log_line(f"retrain: {outcome.line}")
    return outcome.line


def direct() -> Executor:
    """Return an executor that calls the steps directly, without Prefect."""

    def step(name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function, after a line with its name."""
        pipeline.log_line(f"retrain: {name}")
        return function(*args)

    return Executor(step, pipeline.run_directly, lambda outcome: None)
