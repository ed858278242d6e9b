"""Parameters that the sources of volumes share."""

from pydantic import Field, field_validator

from medtune.config.data import DataParams
from medtune.data.patient_pattern import check_regex


class VolumeParams(DataParams):
    """Parameters of a source of volumes."""

    @property
    def has_volumes(self) -> bool:
        """True: the samples are volumes with masks."""
        return True


class VolumeFileParams(VolumeParams):
    """Parameters of a source that reads volumes from files."""

    patient_pattern: str | None = Field(
        None,
        description="regular expression for the path of the first channel, whose first (...) is the patient: "
        "'(P[0-9]+)_'. null: the patients are unknown",
    )

    @field_validator("patient_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        return check_regex(pattern)
