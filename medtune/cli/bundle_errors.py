"""Conversion of errors of the package `serving` to input errors, which the command line prints as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from medtune.config.errors import InputError


@contextmanager
def as_input_errors() -> Iterator[None]:
    """Convert errors of the package `serving` in the block to `InputError`.

    Raises:
        InputError: the bundle is invalid, or a reader for slides is not installed.
    """
    from medtune.serving.manifest import BundleError
    from medtune.serving.slides.slide import MissingReaderError

    try:
        yield
    except (BundleError, MissingReaderError) as error:
        raise InputError(str(error)) from error
