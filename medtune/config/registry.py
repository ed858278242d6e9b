"""Plugins by file name: a data source, a head or a PEFT method is one file in its package.

The registry key is the file's name, and the value in params.yaml. Names are listed from the
directory, so asking what exists imports nothing; only the chosen file is ever imported.
"""

import importlib
import pkgutil
from types import ModuleType

from medtune.config.errors import InputError, suggestion
from medtune.config.project import PACKAGE


def names(package: str) -> list[str]:
    """Registry keys of `package` ("medtune.data.sources", "medtune.models.heads", ...), sorted."""
    folder = PACKAGE.parent.joinpath(*package.split("."))
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def load(package: str, name: object, key: str) -> ModuleType:
    """The plugin file `name` of `package`.

    Args:
        package: dotted package that holds the plugins.
        name: registry key, as the user wrote it.
        key: the params key it came from, for the error message.

    Raises:
        InputError: there is no such plugin.
    """
    known = names(package)
    if name not in known:
        raise InputError(f"{key}: {name!r} is unknown{suggestion(name, known)}; choose one of: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
