"""report.html of a segmentation evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.config.schema import EvaluateParams
from medtune.data.wording import wording
from medtune.evaluation import report
from medtune.evaluation.metric_notes import retitle
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_history
from medtune.tasks.classification.plots import draw_history
from medtune.tasks.segmentation.calibration_facts import METRICS as CALIBRATION_METRICS
from medtune.tasks.segmentation.calibration_facts import draw_reliability
from medtune.tasks.segmentation.case_plot import draw_case, load_case
from medtune.tasks.segmentation.metrics import EACH_EPOCH, METRICS, REPORTED
from medtune.tasks.segmentation.plots import draw_dice, draw_sizes, summary_rows
from medtune.tasks.segmentation.viewer import viewer_section

# Columns of the table of labels.
SHOWN = ("dice", "nsd", "hd95", "volume_error")
MAX_ROWS = 100
MAX_FLAGGED = 20


def write_report(
    folder: Path,
    result: EvaluationResult,
    options: EvaluateParams,
    facts: Mapping[str, Any],
    history: Sequence[dict[str, Any]],
) -> list[Path]:
    """Draw the plots and write the page.

    Args:
        folder: output folder.
        result: the evaluation.
        options: params section evaluate.
        facts: facts of the evaluation.
        history: learning curves, from `medtune.evaluation.tables.join_history`.

    Returns:
        The plots and the plot of the subgroups.
    """
    images = folder / "images"
    images.mkdir()
    pooled, labels, words = result.pooled, result.prepared.classes, wording(result.prepared.info)
    paths = [images / "dice.png", images / "sizes.png"]
    draw_dice(paths[0], pooled, labels, result.title, words)
    draw_sizes(paths[1], pooled, labels, result.title, words)
    if facts["calibration"]:
        paths.append(images / "reliability.png")
        draw_reliability(paths[-1], facts["calibration"], result.title, words.point)
    if history:
        paths.append(images / "history.png")
        folds = len(result.folds)
        draw_history(paths[-1], history, f"{folds} fold{'s' * (folds > 1)}", EACH_EPOCH)
        write_history(folder / "plots" / "history.csv", history)
    cases, drawn = summary_rows(pooled, result.prepared.paths, facts["patients_known"]), []
    for case in cases:
        volumes = load_case(result.prepared, pooled, case["position"])
        metrics = pooled.cases[case["position"]]
        case["labels"] = [
            (one.label, None if one.outcome == "both empty" else one.dice, one.outcome) for one in metrics
        ]
        path = images / f"case_{case['name']}.png"
        draw_case(path, volumes, labels, _caption(case, words.item), [dice for _, dice, _ in case["labels"]])
        paths.append(path)
        drawn.append((case, volumes))
    titles = {quantity.name: words.title(quantity.title) for quantity in REPORTED if quantity.name in SHOWN}
    return report.write_report(
        folder,
        "tasks/segmentation/report.html.j2",
        result,
        retitle(METRICS, result.prepared.info),
        facts,
        paths,
        viewer_section(drawn, labels, words.item),
        titles=titles,
        words=words,
        calibration_titles={metric.name: metric.title for metric in CALIBRATION_METRICS},
        max_rows=MAX_ROWS,
        max_flagged=MAX_FLAGGED,
    )


def _caption(case: Mapping[str, Any], item: str) -> str:
    return f"{case['name']} test {item}: {case['volume']}, {case['whose']}, mean Dice {case['dice']:.3f}"
