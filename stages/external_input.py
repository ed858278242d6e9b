"""Parts of the evaluation of a bundle that depend on the kind of input: images or volumes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.external import ExternalParams
from medtune.config.schema import EvaluateParams
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.external import ExternalListing
    from medtune.data.manifest import PreparedDataset


@dataclass(frozen=True)
class ExternalInput(ABC):
    """Reading of external data, and prediction of a bundle for them.

    Attributes:
        folder: folder of the bundle.
        document: content of bundle.json.
    """

    folder: Path
    document: dict[str, Any]

    @property
    def targets(self) -> Any:
        """Targets module of the task (`medtune.tasks.base.Targets`)."""
        return base.targets(self.document["task"]["kind"])

    @abstractmethod
    def params(self, data: Path, sets: Sequence[str]) -> ExternalParams:
        """Return the params; raises InputError if the data do not exist or an assignment is invalid."""

    @abstractmethod
    def listing(self, params: ExternalParams) -> "ExternalListing":
        """List and check the data without reading pixels; raises InputError if they do not fit the bundle."""

    @abstractmethod
    def load(self, precision: str, provider: str) -> Any:
        """Load the bundle."""

    @abstractmethod
    def prepare(self, listing: Any, params: ExternalParams, bundle: Any, folder: Path, name: str) -> "PreparedDataset":
        """Prepare the data in `folder` as a test set; raises InputError if files cannot be used."""

    @abstractmethod
    def outputs(self, bundle: Any, prepared: "PreparedDataset", options: EvaluateParams, folder: Path) -> Any:
        """Return the output of the bundle, as `Evaluation.from_bundle` reads it; raises RunError if it is NaN."""

    @abstractmethod
    def rule(self, bundle: Any) -> str:
        """Describe the decision rule or post-processing of the bundle."""

    @abstractmethod
    def facts(self, bundle: Any, prepared: "PreparedDataset", predictions: Any) -> dict[str, Any]:
        """Return further entries of `external` in metrics.json, from the result of `Evaluation.from_bundle`."""

    def warnings(self, facts: Mapping[str, Any]) -> list[str]:
        """Return warnings about the result of `facts`, one sentence each."""
        return []
