"""Plugins by file name: a data source, a head, a PEFT method or a metric is one file in its package, a task one folder.

The registry key is the file's name, and the value in params.yaml. Names are listed from the
directory, so asking what exists imports nothing; only the chosen file is ever imported.
"""

import importlib
import pkgutil
from types import ModuleType

from medtune.config.errors import InputError, suggestion
from medtune.config.project import PACKAGE

NOT_A_PLUGIN = {"base"}  # the protocol that the plugins beside it implement


def plugin_names(package: str) -> list[str]:
    """Registry keys of `package` ("medtune.data.sources", "medtune.models.heads", ...), sorted."""
    folder = PACKAGE.parent.joinpath(*package.split("."))
    found = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return sorted(name for name in found if not name.startswith("_") and name not in NOT_A_PLUGIN)


def load_plugin(package: str, name: object, key: str) -> ModuleType:
    """The plugin file `name` of `package`.

    Args:
        package: dotted package that holds the plugins.
        name: registry key, as the user wrote it.
        key: the params key it came from, for the error message.

    Raises:
        InputError: there is no such plugin.
    """
    known = plugin_names(package)
    if name not in known:
        raise InputError(f"{key}: {name!r} is unknown{suggestion(name, known)}; choose one of: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def load_all(package: str) -> list[ModuleType]:
    """Import every plugin of `package`, sorted by name."""
    return [importlib.import_module(f"{package}.{name}") for name in plugin_names(package)]


def load_part(package: str, name: object, part: str, key: str) -> ModuleType:
    """Import one module of a plugin that is a folder: `<package>.<name>.<part>`.

    Arguments and errors as in `load_plugin`.
    """
    return importlib.import_module(f"{load_plugin(package, name, key).__name__}.{part}")
