"""Errors of a request to the HTTP service. Each kind has its own status."""

from typing import ClassVar


class RequestError(ValueError):
    """A request that the service cannot read.

    Attributes:
        status: status of the answer.
    """

    status: ClassVar[int] = 400


class NotAcceptableError(RequestError):
    """The service cannot answer this request in the requested format."""

    status = 406


class TooLargeError(RequestError):
    """A request, or the volume in it, is larger than the service accepts."""

    status = 413


class NotInstalledError(RequestError):
    """A package that the answer needs is not installed on the machine of the service."""

    status = 501


class StorageError(RequestError):
    """The temporary folder of the service cannot be created or written."""

    status = 507
