"""Result of reading a damaged or hostile file."""

from medtune.config.errors import InputError
from medtune.serving.manifest import BundleError


def problem(read, *args):
    """Return None if `read(*args)` rejects the file, otherwise the problem.

    It rejects the file with an error of one line, or treats it as absent and returns None or False.
    """
    try:
        result = read(*args)
    except (InputError, BundleError, RuntimeError) as error:
        return f"error of several lines: {error}" if "\n" in str(error) else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None if result is None or result is False else "used"
