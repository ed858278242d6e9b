"""Image files that the rows of a table name: found, or what is there instead."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from medtune.config.errors import set_option
from medtune.serving.folder_scan import FolderContent, printable

SHOWN = 3
PATH = "{path}"  # what stands for the cell in data.path_format


class ImageFiles:
    """The files under a data root, looked up by the paths of a table."""

    def __init__(self, root: Path, content: FolderContent) -> None:
        """Index the files.

        Args:
            root: the data root.
            content: what lies under it.
        """
        self.root = root
        self._files = {*content.images, *content.others}
        self._by_form = _index(self._files, _form)
        self._guesses: dict[int, dict[str, list[str]]] = {}

    def find(self, path: str) -> str | None:
        """The path as the file system spells it; None where there is no such file.

        macOS stores accents as characters of their own: a name that differs in Unicode form only is the same name.
        """
        if path in self._files:
            return path
        same = self._by_form.get(_form(path), [])
        if len(same) == 1:
            return same[0]
        return path if (self.root / path).is_file() else None

    def guess(self, path: str) -> str | None:
        """The file that is meant by a path that does not exist: another case, no extension, or another folder."""
        for number, key in enumerate((_folded, _stem, _name)):
            if number not in self._guesses:
                self._guesses[number] = _index(self._files, key)
            for wanted in dict.fromkeys((key(path), key(f"{path}.x"))):  # with an extension, or without one
                if len(found := self._guesses[number].get(wanted, [])) == 1:
                    return found[0]
        return None

    def common_format(self, paths: Sequence[str]) -> str | None:
        """What turns every path into a file, `images/{path}.jpg`; None where there is no such text.

        Args:
            paths: paths that name no file.
        """
        found = set()
        for path in paths:
            guess = self.guess(path)
            before, middle, after = (guess or "").rpartition(path)
            found.add(f"{before}{PATH}{after}" if middle and "{" not in before + after else None)
            if len(found) > 1:
                return None
        return found.pop() if found else None

    def describe(self, missing: Sequence[tuple[str, str]], total: int) -> str:
        """What to say of rows that name no file, and the fix.

        Args:
            missing: (place in the table, path) of each.
            total: number of rows.
        """
        shown = []
        for where, path in missing[:SHOWN]:
            guess = self.guess(path)
            shown.append(f"{where}: {path!r}" + (f" (there is {printable(guess)!r})" if guess else ""))
        more = f"; and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        text = f"{len(missing):,} of {total:,} rows name files that do not exist: {'; '.join(shown)}{more}"
        leave_out = set_option("data.on_bad_image", "reject")
        if len(missing) == total and (pattern := self.common_format([path for _, path in missing])):
            return f"{text}. Complete the paths with {set_option('data.path_format', pattern)}"
        return f"{text}. Correct the rows, or leave them out with {leave_out}"


def _form(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _folded(path: str) -> str:
    return _form(path).casefold()


def _stem(path: str) -> str:
    """The folded path without its extension."""
    return str(PurePosixPath(_folded(path)).with_suffix(""))


def _name(path: str) -> str:
    """The folded name of the file without folders and extension."""
    return PurePosixPath(_folded(path)).stem


def _index(paths: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[key(path)].append(path)
    return found
