"""Comparison of patients and labels as people type them, and detection of markers for missing values."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

# Markers of missing values in R, SQL, pandas, Excel and manual tables, as `squeeze` returns them.
_MARKERS = (
    "na n/a n.a. n.a #n/a #na <na> nan -nan nat null nil none \\n n\\a 1.#ind -1.#ind 1.#qnan -1.#qnan",
    "#n/an/a #null! #ref! #value! #name? #div/0! #num! (blank) (empty) (leer) (vide)",
    "unknown unknownpatient unk unspecified undefined missing nodata tbd tba n/k n.k. n.k",
    "notavailable notapplicable notknown notspecified notrecorded notgiven",
    "unbekannt k.a. k.a keineangabe inconnu desconocido desconhecido sconosciuto onbekend",
    "anon anonym anonymous anonymized anonymised",
)
MISSING_MARKERS = frozenset(marker for line in _MARKERS for marker in line.split())
_BRACKETS = "()[]{}<>\"'"
# Punctuation only, without `+`, which can be a class.
_PLACEHOLDER = re.compile(r"[-._?*/\\#~|!,;:=&()\[\]{}<>'\"]*")
# Cyrillic letters that look like Latin ones.
_LOOKALIKES = str.maketrans("авекмнорстухіјѕАВЕКМНОРСТУХІЈЅ", "abekmhopctyxijsABEKMHOPCTYXIJS")
# Scientific notation, in which Excel writes rounded numbers. The pattern requires a sign or decimals, because 1E5 can
# be a code.
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+|\d[.,]\d+[eE]\d+")
_ASCII_BLANKS = dict.fromkeys((*range(33), 127))


def squeeze(text: str) -> str:
    """Normalize case, Unicode form and dashes, and remove blanks and invisible characters."""
    if text.isascii():
        return text.casefold().translate(_ASCII_BLANKS)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = (character for character in folded if not _is_invisible(character))
    text = "".join("-" if unicodedata.category(c) == "Pd" or c == "\N{MINUS SIGN}" else c for c in visible)
    return unicodedata.normalize("NFKC", text).replace("i\u0307", "i")  # lower case of the Turkish capital I with dot


def _is_invisible(character: str) -> bool:
    # Separators, control and format characters (zero-width, direction marks, BOM), and letters without a glyph.
    return (
        unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf")
        or character in "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
        or "\ufe00" <= character <= "\ufe0f"
    )


def patient_key(text: str) -> str:
    """Return the key that spellings of one patient share: `squeeze` without leading zeros and without a trailing `.0`.

    Cyrillic letters become the Latin letters that look the same, because keyboards differ between sites.

    Args:
        text: the patient as typed.

    Returns:
        The key.
    """
    key = re.sub(r"(?<=[0-9])[.,]0+$", "", squeeze(text).translate(_LOOKALIKES))
    return re.sub(r"(?<![0-9])(?<![0-9][.,])0+(?=[0-9])", "", key)


def label_key(text: str) -> str:
    """Return the key that spellings of one label share: `squeeze` without a trailing `.0` or final dots."""
    key = squeeze(text)
    return re.sub(r"(?<=[0-9])[.,]0+$", "", key.rstrip(".")) or key


def is_missing(text: str) -> bool:
    """Return True if the text is empty, invisible or a common marker of a missing value (NA, NULL, unknown, -, ?)."""
    key = squeeze(text)
    return (
        key in MISSING_MARKERS
        or key.strip(_BRACKETS).rstrip(".") in MISSING_MARKERS
        or _PLACEHOLDER.fullmatch(key) is not None
    )


def is_rounded_number(text: str) -> bool:
    """Return True for a number that Excel rounded, such as 1.23457E+15. Different numbers may have become equal."""
    return _ROUNDED.fullmatch(text.strip()) is not None


def similar(values: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    """Find different values with the same key.

    Args:
        values: one value per image.
        key: function that returns the key of a value: `patient_key` or `label_key`.

    Returns:
        Lists of two or more different values with the same key. Each list begins with its most frequent value.
    """
    counts = Counter(values)
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for value in counts:
        by_key[key(value)].append(value)
    sets = [sorted(values, key=lambda value: (-counts[value], value)) for values in by_key.values() if len(values) > 1]
    return sorted(sets)


def spell(*values: str) -> list[str]:
    """Quote values for a message. If the values look the same on a screen, write special characters as code points."""
    shown = ("".join(c for c in value if not _is_invisible(c)) for value in values)
    appearances = {unicodedata.normalize("NFKC", value).translate(_LOOKALIKES) for value in shown}
    as_code_points = len(appearances) < len(values) or any(
        unicodedata.category(c) in ("Cf", "Cc") for value in values for c in value
    )
    return [ascii(value) if as_code_points else repr(value) for value in values]
