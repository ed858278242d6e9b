"""Command `medtune stage`, which runs one training stage, for example on several GPUs or as one job per fold."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options

app = options.program()
Control = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Train a control (a variant for comparison) of task.controls. Default: the model."
    ),
]


@app.callback(
    epilog=options.examples(
        "medtune stage frozen --fold 1",
        "medtune stage finetune --control scratch --fold 1",
        "accelerate launch --multi_gpu --num_processes 2 -m medtune stage finetune",
    )
)
def stage() -> None:
    """Run only one training stage, for example on several GPUs.

    Another use is one job per fold.
    `medtune train` reuses the results, then evaluates and exports.
    """


@app.command(
    epilog=options.examples("medtune stage frozen --fold 1", "torchrun --nproc-per-node 2 -m medtune stage frozen")
)
def frozen(
    fold: options.Fold = None,
    control: Control = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
) -> None:
    """Train the head on the frozen backbone (stage 1)."""
    _train("frozen", fold, control, params, overrides, out)


@app.command(
    epilog=options.examples("medtune stage finetune --fold 1", "torchrun --nproc-per-node 2 -m medtune stage finetune")
)
def finetune(
    fold: options.Fold = None,
    control: Control = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
) -> None:
    """Fine-tune from the best weights of stage 1 (stage 2).

    With the param schedule=full, there is no stage 1, and fine-tuning starts
    from the pretrained weights.
    """
    _train("finetune", fold, control, params, overrides, out)


def _train(
    name: str,
    fold: int | None,
    control: str | None,
    params: Path | None,
    overrides: list[str] | None,
    out: Path | None,
) -> None:
    """Run one training stage for one fold or for all folds."""
    import importlib

    from medtune.config.errors import InputError
    from medtune.config.load import load
    from medtune.runtime import console, distributed
    from medtune.runtime.device import check_device
    from medtune.runtime.paths import RunPaths
    from medtune.serving.members import network_name
    from medtune.stages.launch import check_launch, distributed_launch
    from medtune.stages.preflight import run_preflight
    from medtune.stages.steps import Steps
    from medtune.tasks import base

    loaded, paths = load(params, overrides or ()), RunPaths.from_env(out)
    if control is not None:
        controls = base.trained_controls(loaded)
        if control not in controls:
            known = ", ".join(controls) or "none"
            raise InputError(f"--control={control}: the run does not train this control. Its controls: {known}")
        of_model, loaded = loaded, controls[control]
        if name not in loaded.training_stages:
            raise InputError(
                f"--control={control}: it has no stage {name}. Run `medtune stage {loaded.training_stages[0]}`"
            )
    check_device()
    check_launch(loaded, "finetune" in loaded.training_stages)  # before torch connects the processes
    stage = importlib.import_module(f"medtune.stages.{name}")
    with distributed_launch(paths):
        with distributed.main_process_first():
            prepared = run_preflight(loaded, paths, several=True)
        from medtune.stages.dry_run import check_network

        with distributed.main_process_first():
            check_network(loaded, paths, prepared)
        if control is not None:
            paths = paths.of_control(control, Steps(of_model, paths, prepared=prepared).group)
        for test_fold in loaded.trained_networks if fold is None else [fold]:
            console.info(f"{name} {network_name(test_fold)}: {stage.run(loaded, paths, test_fold).path}")
