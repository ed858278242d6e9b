"""`python -m studies.families`: write docs/backbones.md, which tests one small network of each timm family.

A family is a module of timm.models. Each network has random weights. The check at the start of `medtune train` runs
first, and the graph that it exports is compared with the network. If the check accepts the network, three trainings
run: stage 1, stage 2, and stage 2 with LoRA. The exit code is 1 if anything fails after the check. Results are cached
per family, so that an interrupted run resumes.
`--only swin_transformer,hiera` tests only these families and does not write the page. `--write` writes the page from
the cached results and tests nothing.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import timm
import torch

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.models.backbones import check_backbone, create_backbone
from medtune.runtime.artifact import write_text
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths
from medtune.serving.one_line import first_line
from studies.families_page import MAX_PARAMETERS, MODES, Row, render

PAGE = PROJECT / "docs" / "backbones.md"
SIDES = (32, 64, 96, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)
# Words in model names that indicate the size of the network, smallest first.
SIZES = (
    "atto",
    "femto",
    "zepto",
    "pico",
    "nano",
    "xxs",
    "xxxs",
    "xs",
    "xtiny",
    "tiny",
    "mini",
    "small",
    "050",
    "b0",
    "s0",
)
CANDIDATES = 4  # networks of a family that are built to find the smallest
DATA = ("data.labels=binary", "data.patients=12", "data.images_per_patient=1", "data.split.folds=3")
SHORT = (
    "model.weights=none", "model.head.kind=linear", "frozen.epochs=1", "frozen.feature_views=1", "finetune.epochs=1",
    "frozen.batch_size=3", "finetune.batch_size=3", "tracking.mode=disabled",
    "data.split.test_fold=1", "frozen.warmup_epochs=0", "finetune.warmup_epochs=0",
)  # fmt: skip
TOLERANCE = 1e-3  # largest difference of probabilities


class TooLarge(Exception):
    """The smallest network of a family has more than `MAX_PARAMETERS`. The message has its number of parameters."""


def families() -> dict[str, list[str]]:
    """Return the model names by family. The order by size is guessed from the names, smallest first."""
    by_module: dict[str, list[str]] = {}
    for name in timm.list_models():
        module = timm.models.model_entrypoint(name).__module__.rsplit(".", 1)[-1]
        by_module.setdefault(module, []).append(name)
    return {module: sorted(names, key=_size_order) for module, names in sorted(by_module.items())}


def _size_order(name: str) -> tuple[int, int, int, str]:
    """Return a sort key: test networks first, then by words of `SIZES`, then by the first number in the name."""
    words = re.split(r"[_\W]", name)
    word = next((index for index, size in enumerate(SIZES) if size in words), len(SIZES))
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    return (0 if name.startswith("test_") else 1, word, numbers[0] if numbers else 0, name)


def smallest(names: list[str]) -> tuple[str, int, dict[str, int], float]:
    """Find the smallest network of a family that can be built, and the smallest image side that it accepts.

    Args:
        names: model names, probably the smallest first.

    Returns:
        Name, image side, arguments of the backbone and millions of parameters.

    Raises:
        TooLarge: the smallest network has more than MAX_PARAMETERS.
        InputError: no candidate can be built, or no candidate accepts any of `SIDES`. The message is the last one.
    """
    built: list[tuple[float, str]] = []
    for name in names[:CANDIDATES]:
        try:
            with torch.device("meta"):
                network = create_backbone(_params(name, 224, {}), load_weights=False)
            built.append((sum(p.numel() for p in network.parameters()) / 1e6, name))
        except Exception:  # constructors of timm raise many types
            continue
    fault = InputError(f"{', '.join(names[:CANDIDATES])} cannot be built")
    if built and min(built)[0] > MAX_PARAMETERS:
        raise TooLarge(f"{min(built)[0]:.0f} million parameters")
    for parameters, name in sorted(built)[:2]:
        for side in SIDES:
            for args in ({"img_size": side}, {}):
                try:
                    check_backbone(_params(name, side, args))
                    return name, side, args, parameters
                except InputError as error:
                    fault = error
    raise fault


def _params(name: str, side: int, args: dict[str, int], *sets: str) -> Params:
    spelled = "{" + ", ".join(f"{key}: {value}" for key, value in args.items()) + "}"
    return load(sets=[f"model.backbone={name}", f"model.backbone_args={spelled}", f"data.image_size={side}",
                      *DATA, *SHORT, *sets])  # fmt: skip


def try_family(family: str, names: list[str], cache: Path) -> Row:
    """Test the smallest network of a family in every mode."""
    begin = time.process_time()
    try:
        name, side, args, parameters = smallest(names)
    except InputError as error:
        return Row(family, names[0], 0, 0.0, dict.fromkeys(MODES, f"refused: {error}"), time.process_time() - begin)
    except TooLarge as error:
        return Row(family, names[0], 0, 0.0, dict.fromkeys(MODES, f"not tried: {error}"), time.process_time() - begin)
    outcome = _plain(name, side, args, cache) | _lora(name, side, args, cache)
    return Row(family, name, side, round(parameters, 1), outcome, round(time.process_time() - begin, 1))


def _plain(name: str, side: int, args: dict[str, int], cache: Path) -> dict[str, str]:
    """Return the outcomes of stage 1, stage 2 and the export, without a PEFT method."""
    from medtune.stages import finetune, frozen
    from medtune.stages.trial_export import LAYOUT, try_export
    from medtune.training.trial_step import run_trial_steps

    params, paths = _params(name, side, args, "schedule=staged"), _prepared(side, cache, name)
    try:
        network = run_trial_steps(params, LAYOUT).network
        graph = try_export(params, network)
    except InputError as error:
        return dict.fromkeys(("frozen", "fine-tuning", "export"), f"refused: {error}")
    return {
        "frozen": _attempt(lambda: frozen.run(params, paths, 1)),
        "fine-tuning": _attempt(lambda: finetune.run(params, paths, 1)),
        "export": _attempt(lambda: _compare(network, graph, side)),
    }


def _attempt(run: Callable[[], object]) -> str:
    """Call a function, and return `works` or the error after `FAILED`."""
    try:
        run()
    except Exception as error:  # the failure is the result
        return f"FAILED: {first_line(error, with_type=True)}"
    return "works"


def _compare(network: torch.nn.Module, graph: bytes, side: int) -> None:
    """Compare the exported graph with the network on random images.

    Raises:
        RuntimeError: the probabilities differ.
    """
    from benchmarks.inference_model import InferenceModel
    from medtune.export.precisions import predictor

    model = InferenceModel(network, 1.0)  # type: ignore[arg-type]
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    off = float(np.abs(predictor(graph, busy_wait=False)(images)[:, 0] - expected).max())
    if not off <= TOLERANCE:
        raise RuntimeError(f"the exported graph is {off:.1g} off")


def _lora(name: str, side: int, args: dict[str, int], cache: Path) -> dict[str, str]:
    """Return the outcome of stage 2 with LoRA."""
    from medtune.stages import finetune
    from medtune.stages.trial_export import LAYOUT
    from medtune.training.trial_step import run_trial_steps

    params = _params(name, side, args, "schedule=full", "model.peft.method=lora")
    paths = _prepared(side, cache, f"{name}-lora")
    try:
        check_backbone(params)
        run_trial_steps(params, LAYOUT)  # no export, because `_plain` exports the same network
    except InputError as error:
        return {"lora": f"refused: {error}"}
    return {"lora": _attempt(lambda: finetune.run(params, paths, 1))}


def _prepared(side: int, cache: Path, name: str) -> RunPaths:
    """Return the paths of one run. All runs with the same image side share a synthetic data set."""
    from medtune.stages import data

    shared = RunPaths(cache / "data" / str(side), cache)
    data.run(_params("test_vit", side, {"img_size": side}), shared)  # does nothing if the data set is prepared
    return RunPaths(cache / "runs" / name, cache, data=shared.prepared)


def run(only: list[str], cached_only: bool = False) -> Iterator[Row]:
    """Yield the row of each family, from the cache or by testing it.

    Args:
        only: families to yield; empty for all.
        cached_only: skip families without a cached row.
    """
    cache = RunPaths.from_env().cache / "families"
    for family, names in families().items():
        row_file = cache / "rows" / f"{family}.json"
        if (only and family not in only) or (cached_only and not row_file.is_file()):
            continue
        if row_file.is_file():
            row = Row(**json.loads(row_file.read_text(encoding="utf-8")))
        else:
            row = try_family(family, names, cache)
            row_file.parent.mkdir(parents=True, exist_ok=True)
            write_text(row_file, json.dumps(asdict(row)))
        info(f"{row.family}: {row.backbone} at {row.side}: {row.outcome} ({row.seconds:.0f} s)")
        yield row


def main() -> int:
    """Test every family and write the page; --only and --write are described in the docstring of the module."""
    only = sys.argv[2].split(",") if sys.argv[1:2] == ["--only"] else []
    rows = list(run(only, sys.argv[1:2] == ["--write"]))
    if not only:
        write_text(PAGE, render(rows, list(families())))
        info(f"{PAGE.relative_to(PROJECT)} written")
    return int(any(outcome.startswith("FAILED") for row in rows for outcome in row.outcome.values()))


if __name__ == "__main__":
    sys.exit(main())
