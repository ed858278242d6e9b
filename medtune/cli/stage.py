"""`medtune stage`: a single training stage, for several GPUs or for separate jobs per fold."""

from pathlib import Path

from medtune.cli import options

app = options.program()


@app.callback(
    epilog=options.examples(
        "medtune stage frozen --fold 1",
        "accelerate launch --multi_gpu --num_processes 2 -m medtune stage finetune",
    )
)
def stage() -> None:
    """Run one training stage, in one process or in several.

    `medtune train` runs both, then evaluates and exports. It finds what these commands trained.
    """


@app.command(
    epilog=options.examples("medtune stage frozen --fold 1", "torchrun --nproc-per-node 2 -m medtune stage frozen")
)
def frozen(
    fold: options.Fold = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
) -> None:
    """Train the head on the frozen backbone (stage 1)."""
    _train("frozen", fold, params, overrides, out)


@app.command(
    epilog=options.examples("medtune stage finetune --fold 1", "torchrun --nproc-per-node 2 -m medtune stage finetune")
)
def finetune(
    fold: options.Fold = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
) -> None:
    """Fine-tune from stage 1's best weights (stage 2).

    With `schedule: full` it starts from the pretrained weights.
    """
    _train("finetune", fold, params, overrides, out)


def _train(name: str, fold: int | None, params: Path | None, overrides: list[str] | None, out: Path | None) -> None:
    import importlib

    from medtune.config.load import load
    from medtune.runtime import console, distributed
    from medtune.runtime.device import check_device
    from medtune.runtime.paths import RunPaths
    from medtune.serving.members import network_name
    from medtune.stages.launch import check_launch, distributed_launch
    from medtune.stages.preflight import run_preflight

    read, paths = load(params, overrides or ()), RunPaths.from_env(out)
    check_device()
    check_launch(read, "finetune" in read.training_stages)  # before torch connects the processes
    stage = importlib.import_module(f"medtune.stages.{name}")
    with distributed_launch(paths):
        with distributed.main_process_first():
            prepared = run_preflight(read, paths, several=True)
        from medtune.stages.dry_run import check_network

        with distributed.main_process_first():
            check_network(read, paths, prepared)
        for each in read.trained_networks if fold is None else [fold]:
            console.info(f"{name} {network_name(each)}: {stage.run(read, paths, each).path}")
