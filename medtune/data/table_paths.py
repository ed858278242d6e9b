"""Search for the files that a table names, and suggestions for missing files."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from medtune.config.errors import set_option
from medtune.serving.folder_scan import FolderContent, printable

# Examples in a message.
SHOWN = 3
PATH = "{path}"  # placeholder for the cell in data.path_format


class ImageFiles:
    """Index of the files under a data root."""

    def __init__(self, root: Path, content: FolderContent) -> None:
        """Index the files.

        Args:
            root: the data root.
            content: the files under the data root.
        """
        self.root = root
        self._files = {*content.images, *content.others}
        self._by_form = _index(self._files, _form)
        self._guesses: dict[int, dict[str, list[str]]] = {}

    def find(self, path: str) -> str | None:
        """Find the file of a path. Paths that differ only in Unicode form count as equal.

        macOS, for example, stores accents as separate characters.

        Args:
            path: posix path relative to the data root.

        Returns:
            The path as the file system spells it, or None if there is no such file.
        """
        if path in self._files:
            return path
        same = self._by_form.get(_form(path), [])
        if len(same) == 1:
            return same[0]
        return path if os.path.isfile(self.root / path) else None  # False for names that cannot exist

    def guess(self, path: str) -> str | None:
        """Return the file that a missing path probably means.

        Files that differ only in case are tried first, then those with another extension, then those in another folder.

        Args:
            path: posix path without a file.

        Returns:
            Path of the file, or None unless exactly one file is similar.
        """
        for number, key in enumerate((_folded, _stem, _name)):
            if number not in self._guesses:
                self._guesses[number] = _index(self._files, key)
            for expected in dict.fromkeys((key(path), key(f"{path}.x"))):  # path with or without an extension
                if len(files := self._guesses[number].get(expected, [])) == 1:
                    return files[0]
        return None

    def common_format(self, paths: Sequence[str]) -> str | None:
        """Return the `data.path_format` that makes every path the path of a file, such as `images/{path}.jpg`.

        Args:
            paths: paths without a file.

        Returns:
            The format, or None if no single format fits all paths.
        """
        formats = set()
        for path in paths:
            guess = self.guess(path)
            before, middle, after = (guess or "").rpartition(path)
            formats.add(f"{before}{PATH}{after}" if middle and "{" not in before + after else None)
            if len(formats) > 1:
                return None
        return formats.pop() if formats else None

    def describe(self, missing: Sequence[tuple[str, str]], total: int) -> str:
        """Return the error message about rows without a file, with a fix.

        Args:
            missing: (location in the table, path) of each row without a file.
            total: number of rows.

        Returns:
            The message, one line.
        """
        shown = []
        for where, path in missing[:SHOWN]:
            guess = self.guess(path)
            shown.append(f"{where}: {path!r}" + (f" (there is {printable(guess)!r})" if guess else ""))
        more = f"; and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        names = "names a file that does" if len(missing) == 1 else "name files that do"
        text = f"{len(missing):,} of {total:,} rows {names} not exist: {'; '.join(shown)}{more}"
        leave_out = set_option("data.on_bad_image", "reject")
        if len(missing) == total and (pattern := self.common_format([path for _, path in missing])):
            return f"{text}. Complete the paths with {set_option('data.path_format', pattern)}"
        rows, them = ("row", "it") if len(missing) == 1 else ("rows", "them")
        return f"{text}. Correct the {rows}, or leave {them} out with {leave_out}"


def _form(path: str) -> str:
    """Return the path in normal Unicode form."""
    return unicodedata.normalize("NFC", path)


def _folded(path: str) -> str:
    """Return the path in normal Unicode form and lower case."""
    return _form(path).casefold()


def _stem(path: str) -> str:
    """Return the path in lower case, without its extension."""
    return str(PurePosixPath(_folded(path)).with_suffix(""))


def _name(path: str) -> str:
    """Return the file name in lower case, without its extension."""
    return PurePosixPath(_folded(path)).stem


def _index(paths: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """Return the paths by their key."""
    paths_by_key: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        paths_by_key[key(path)].append(path)
    return paths_by_key
