"""Command `medtune stage`, for several GPUs or one job per fold."""

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

    `medtune train` runs both stages, evaluates and exports. It reuses the results of these commands.
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
    """Fine-tune from the best weights of stage 1 (stage 2).

    With `schedule: full`, fine-tuning starts from the pretrained weights.
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

    loaded, paths = load(params, overrides or ()), RunPaths.from_env(out)
    check_device()
    check_launch(loaded, "finetune" in loaded.training_stages)  # before torch connects the processes
    stage = importlib.import_module(f"medtune.stages.{name}")
    with distributed_launch(paths):
        with distributed.main_process_first():
            prepared = run_preflight(loaded, paths, several=True)
        from medtune.stages.dry_run import check_network

        with distributed.main_process_first():
            check_network(loaded, paths, prepared)
        for test_fold in loaded.trained_networks if fold is None else [fold]:
            console.info(f"{name} {network_name(test_fold)}: {stage.run(loaded, paths, test_fold).path}")
