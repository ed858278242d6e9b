"""Description of the exported model and of the networks whose metrics are reported."""

from collections.abc import Sequence
from typing import Any

from medtune.config.schema import Params
from medtune.evaluation.choices import describe_choices
from medtune.runtime.artifact import Artifact
from medtune.serving.members import REFIT


def final_model(params: Params, trained: Sequence[Artifact], unit: str = "images") -> dict[str, Any]:
    """Describe the exported model.

    Args:
        params: all params.
        trained: networks of all folds, and the network that was trained on all images if `final` is `refit`.
        unit: unit of the dataset: images, slides or volumes.

    Returns:
        `kind` (`ensemble`, `single` or `refit`) and `what`, a description in sentences. For `refit` also its `choices`.
    """
    by_fold = {int(artifact.result()["fold"]): artifact.result() for artifact in trained}
    if params.final == "refit":
        refit = by_fold[REFIT]
        return {
            "kind": "refit",
            "what": f"The exported model is one network that was trained on all {refit['images']['train']:,} labeled "
            f"{unit} ({describe_choices(refit['choices'])}, selected by cross-validation). No patient is left to test "
            f"it. The metrics are those of the networks of the folds, each on test {unit} it has not seen.",
            "choices": refit["choices"],
        }
    if len(by_fold) > 1:
        return {
            "kind": "ensemble",
            "what": f"The exported model averages the networks of all {len(by_fold)} folds. The metrics are those of "
            f"these networks, each on test {unit} it has not seen.",
        }
    return {"kind": "single", "what": "The exported model is the network that these metrics describe."}
