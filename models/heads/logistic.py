"""Head `logistic`: logistic regression on the class token and the mean patch feature, solved exactly.

With a frozen backbone the optimum is found by L-BFGS instead of an optimizer with a learning rate
(`medtune.training.logistic`). With schedule `full` it starts at zero and is trained like any other head.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "summary"
LR_GRID = (1e-3, 1e-2, 1e-1)  # not used where it is solved
Strength = Annotated[float, Field(gt=0, le=1e6)]


class Params(HeadParams):
    """In stage 1 the keys of `frozen` that concern an optimizer, such as `epochs` and `lr`, have no effect."""

    kind: Literal["logistic"] = "logistic"
    C: Strength | Annotated[list[Strength], Field(min_length=1)] = Field(
        2.0, description="inverse strength of the L2 penalty; a list: chosen on validation by frozen.monitor"
    )

    @property
    def solved(self) -> bool:
        """Stage 1 solves it."""
        return True

    @property
    def candidates(self) -> list[float]:
        """Values of `C` to choose from."""
        return self.C if isinstance(self.C, list) else [self.C]


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Reads (B, 1, D) features, gives (B, classes) logits; starts at zero."""
    from torch import nn

    from medtune.models.classifier import mean_head

    head = mean_head(channels, classes, norm=False)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head
