"""Head `logistic`: logistic regression on the class token and the mean patch feature, solved exactly.

In stage 1, with a frozen backbone, L-BFGS finds the optimum without a learning rate (`medtune.training.logistic`). With
`schedule=full`, there is no stage 1. The head then starts at zero and is trained like any other head.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "summary"
LR_GRID = (1e-3, 1e-2, 1e-1)  # unused if L-BFGS solves the head
Strength = Annotated[float, Field(gt=0, le=1e6)]


class Params(HeadParams):
    """Strength of the penalty. In stage 1, the keys for the optimizer, such as `frozen.lr`, have no effect."""

    kind: Literal["logistic"] = "logistic"
    C: Strength | Annotated[list[Strength], Field(min_length=1)] = Field(
        2.0,
        description="inverse strength of the L2 penalty. From a list, the value with the best frozen.monitor on the "
        "validation set is selected",
        examples=[[0.1, 1, 10]],
    )

    @property
    def solved(self) -> bool:
        """True, because stage 1 solves the head instead of training it."""
        return True

    @property
    def candidates(self) -> list[float]:
        """Values of `C` from which validation selects one."""
        return self.C if isinstance(self.C, list) else [self.C]


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Build a head from features (B, 1, D) to logits (B, classes), with all parameters zero."""
    from torch import nn

    from medtune.models.classifier import mean_head

    head = mean_head(channels, classes, norm=False)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head
