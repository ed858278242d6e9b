"""Steps of the evaluation of a bundle on external data that depend on its input: images or volumes."""

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
    """Interface of these steps: read the external data, and predict them with the bundle.

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
        """Return the params of the evaluation.

        Args:
            data: folder or table of the external data.
            sets: overrides as `key=value`.

        Raises:
            InputError: the data do not exist, or an override is invalid.
        """

    @abstractmethod
    def listing(self, params: ExternalParams) -> "ExternalListing":
        """List and check the data without reading pixels.

        Raises:
            InputError: the data are invalid or do not match the bundle.
        """

    @abstractmethod
    def load(self, precision: str, provider: str) -> Any:
        """Load the bundle with a precision, such as fp32, on a provider: cpu, cuda or tensorrt."""

    @abstractmethod
    def prepare(self, listing: Any, params: ExternalParams, bundle: Any, folder: Path, name: str) -> "PreparedDataset":
        """Prepare the data as a test set.

        Args:
            listing: result of `listing`.
            params: params of the evaluation.
            bundle: result of `load`.
            folder: folder for the prepared pixels.
            name: name of the data set.

        Raises:
            InputError: a file cannot be used.
        """

    @abstractmethod
    def outputs(self, bundle: Any, prepared: "PreparedDataset", options: EvaluateParams, folder: Path) -> Any:
        """Return the outputs of the bundle, in the format that `Evaluation.from_bundle` of the task reads.

        Args:
            bundle: result of `load`.
            prepared: result of `prepare`.
            options: section evaluate of the params.
            folder: folder of the prepared pixels.

        Raises:
            RunError: an output is not finite.
        """

    @abstractmethod
    def rule(self, bundle: Any) -> str:
        """Describe the decision rule or post-processing of the bundle."""

    @abstractmethod
    def facts(self, bundle: Any, prepared: "PreparedDataset", predictions: Any) -> dict[str, Any]:
        """Return further entries of `external` in metrics.json, from the result of `Evaluation.from_bundle`."""

    def warnings(self, facts: Mapping[str, Any]) -> list[str]:
        """Return warnings about `facts`, the entries of `external` in metrics.json."""
        return []
