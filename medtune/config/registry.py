"""Plugin registry by file name.

A data source, head, PEFT method or metric is one file in its package. A task is one folder. The name of the file or
folder is the registry key and the value in params.yaml. Names come from the directory listing: only the chosen plugin
is imported.
"""

import importlib
import pkgutil
from types import ModuleType

from medtune.config.errors import InputError, show_value, suggestion
from medtune.config.project import PACKAGE

NOT_A_PLUGIN = {"base"}  # module with the protocols of the plugins


def plugin_names(package: str) -> list[str]:
    """Return the sorted registry keys of a package, for example "medtune.models.heads"."""
    folder = PACKAGE.parent.joinpath(*package.split("."))
    names = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return sorted(name for name in names if not name.startswith("_") and name not in NOT_A_PLUGIN)


def load_plugin(package: str, name: object, key: str) -> ModuleType:
    """Import a plugin by its registry key.

    Args:
        package: dotted package that contains the plugins.
        name: registry key, as the user wrote it.
        key: params key of the name, for the error message.

    Returns:
        The plugin's module.

    Raises:
        InputError: there is no such plugin.
    """
    known = plugin_names(package)
    if name not in known:
        raise InputError(
            f"{key}={show_value(name)}: unknown{suggestion(name, known)}. Choose one of: {', '.join(known)}"
        )
    return importlib.import_module(f"{package}.{name}")


def load_all(package: str) -> list[ModuleType]:
    """Import every plugin of `package`, sorted by name."""
    return [importlib.import_module(f"{package}.{name}") for name in plugin_names(package)]


def load_part(package: str, name: object, part: str, key: str) -> ModuleType:
    """Import the module `<package>.<name>.<part>` of a plugin that is a folder.

    Args:
        package: dotted package that contains the plugins.
        name: registry key, as the user wrote it.
        part: module within the plugin's folder.
        key: params key of the name, for the error message.

    Returns:
        The imported module.

    Raises:
        InputError: there is no such plugin.
    """
    return importlib.import_module(f"{load_plugin(package, name, key).__name__}.{part}")


def check_metric(key: str, name: str, known: list[str]) -> None:
    """Raise if the task does not have the metric.

    Args:
        key: params key of the name, for the error message.
        name: metric, as the user wrote it.
        known: metrics of the task.

    Raises:
        InputError: `name` is not in `known`.
    """
    if name not in known:
        raise InputError(f"{key}={name}: unknown metric{suggestion(name, known)}. Choose one of: {', '.join(known)}.")
