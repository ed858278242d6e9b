"""Control run: the training of a model repeated without one of its parts, to measure what this part contributes."""

from dataclasses import dataclass

from medtune.config.schema import Params


@dataclass(frozen=True)
class Control:
    """Control run of a model.

    Attributes:
        name: name in params.yaml and in `artifacts/controls`.
        title: name in reports, which completes "of the ...".
        part: part of the model that the control lacks, which completes "The ... adds".
        params: params with which the control is trained; None if it is not trained.
        absence: reason why the control is not trained; None if it is trained.
    """

    name: str
    title: str
    part: str
    params: Params | None = None
    absence: str | None = None
