"""Identifiers and labels as people type them: which are the same, and which say that the value is unknown."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

# What R, SQL, pandas, Excel and people write where a value is missing; compared without case and blanks.
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
# No letter or digit; `+` may be a class.
_PLACEHOLDER = re.compile(r"[-._?*/\\#~|!,;:=&()\[\]{}<>'\"]*")
# Cyrillic letters that look like Latin ones.
_LOOKALIKES = str.maketrans("авекмнорстухіјѕАВЕКМНОРСТУХІЈЅ", "abekmhopctyxijsABEKMHOPCTYXIJS")
# A patient number in scientific notation: Excel rounds it to 15 digits or fewer. Without sign and decimals it may be a
# code such as 1E5.
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+|\d[.,]\d+[eE]\d+")
_ASCII_BLANKS = dict.fromkeys((*range(33), 127))


def squeeze(text: str) -> str:
    """The text without its case, Unicode form, blanks, invisible characters and kinds of dashes."""
    if text.isascii():
        return text.casefold().translate(_ASCII_BLANKS)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (character for character in folded if not _is_invisible(character))
    text = "".join("-" if unicodedata.category(c) == "Pd" or c == "\N{MINUS SIGN}" else c for c in kept)
    return unicodedata.normalize("NFKC", text).replace("i\u0307", "i")  # what a Turkish capital I becomes


def _is_invisible(character: str) -> bool:
    # Separators, control and format characters (zero-width, direction marks, BOM), and what is drawn as nothing.
    return (
        unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf")
        or character in "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
        or "\ufe00" <= character <= "\ufe0f"
    )


def patient_key(text: str) -> str:
    """What two spellings of one patient have in common: `squeeze`, without leading zeros and a trailing `.0`.

    Cyrillic letters that look like Latin ones are taken for them: keyboards differ, the patient does not.
    """
    key = re.sub(r"(?<=[0-9])[.,]0+$", "", squeeze(text).translate(_LOOKALIKES))
    return re.sub(r"(?<![0-9])(?<![0-9][.,])0+(?=[0-9])", "", key)


def label_key(text: str) -> str:
    """What two spellings of one label have in common: `squeeze`, without a trailing `.0` and a final dot."""
    key = squeeze(text)
    return re.sub(r"(?<=[0-9])[.,]0+$", "", key.rstrip(".")) or key


def is_missing(text: str) -> bool:
    """Whether the text is empty, invisible, or a usual marker of a missing value (NA, NULL, unknown, -, ?)."""
    key = squeeze(text)
    return (
        key in MISSING_MARKERS
        or key.strip(_BRACKETS).rstrip(".") in MISSING_MARKERS
        or _PLACEHOLDER.fullmatch(key) is not None
    )


def is_rounded_number(text: str) -> bool:
    """Whether the text is a long number that Excel shortened (1.23457E+15): different ones have become equal."""
    return _ROUNDED.fullmatch(text.strip()) is not None


def similar(values: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    """Return the sets of different values with the same key, the most frequent value of each set first.

    Args:
        values: one per image.
        key: `patient_key` or `label_key`.
    """
    counts = Counter(values)
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for value in counts:
        by_key[key(value)].append(value)
    sets = [sorted(found, key=lambda value: (-counts[value], value)) for found in by_key.values() if len(found) > 1]
    return sorted(sets)


def spell(*values: str) -> list[str]:
    """Values in quotes; with code points where they would look the same on a screen."""
    shown = ("".join(c for c in value if not _is_invisible(c)) for value in values)
    seen = {unicodedata.normalize("NFKC", value).translate(_LOOKALIKES) for value in shown}
    hidden = len(seen) < len(values) or any(unicodedata.category(c) in ("Cf", "Cc") for value in values for c in value)
    return [ascii(value) if hidden else repr(value) for value in values]
