"""Plain technical English: code, messages and pages contain none of the words below."""

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Rejected pattern and what to write instead.
REJECTED = {
    r"anew": "again",
    r"dealt|deals? (?:groups|patients|images|out)": "assigned, assign",
    r"heed(?:s|ed)?": "check, follow",
    r"mend(?:s|ed|ing)?": "fix",
    r"reckon(?:s|ed|ing)?": "compute, estimate",
    r"held against": "verified against",
    r"told (?:of|from|apart)": "notified about, distinguished from",
    r"go(?:es)? on": "continue",
    r"(?:to|cannot) be had": "available",
    r"of whatever": "of any",
    r"at fault": "causes the error",
    r"want of": "because it is missing",
    r"that (?:is|are) none": "that does not exist, that is not valid",
    r"stands? (?:ready|there|in|twice|before)": "is",
    r"what (?:is|was) (?:said|told|asked|wanted|meant)": "the value, the request",
    r"thereof|therein|whereof|wherein|thereby|hence|thus": "a plain sentence",
    r"amidst?|whilst|upon": "in, while, on",
    r"none other|as it were|so to speak": "nothing",
    r"likewise": "also, the same",
    r"lets? (?:pass|go of)": "accept, release",
    r"whole or absent": "atomic",
    r"puts? back": "restore",
    r"clear(?:s|ed)? away": "remove",
    r"owns? what": "tracks",
    r"hand(?:s|ed)? over": "pass, publish",
    r"brings? back": "restore",
    # The figure of matplotlib is accepted.
    r"figures|(?:a|any|each|every|no|one) figure": "number, metric, plot",
    r"pictures?": "image, plot",
}
REJECTED_WORD = re.compile(rf"\b(?:{'|'.join(REJECTED)})\b", re.IGNORECASE)
EXEMPT = ("tests/contracts/test_language.py",)
SUFFIXES = {".cff", ".ipynb", ".j2", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}


def text_files() -> list[str]:
    """Return the tracked text files of the project, relative to its root."""
    names = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    return sorted(
        name
        for name in names
        if not name.startswith(EXEMPT)
        and (Path(name).suffix in SUFFIXES or Path(name).name in ("Dockerfile", "Makefile"))
    )


def test_text__has_no_rejected_word() -> None:
    names = text_files()
    assert len(names) > 500
    rejected = [
        f"{name}:{number}: {match[0]!r} in {line.strip()[:100]!r}"
        for name in names
        if not (PROJECT / name).is_symlink()
        for number, line in enumerate((PROJECT / name).read_text(encoding="utf-8").splitlines(), 1)
        for match in REJECTED_WORD.finditer(line)
    ]
    assert not rejected, "\n".join(rejected)


@pytest.mark.parametrize(
    "text", ["The folds are dealt anew.", "Likewise for images", "There is no figure", "Mend them"]
)
def test_rejected_word__is_detected(text: str) -> None:
    assert REJECTED_WORD.search(text)


@pytest.mark.parametrize("text", ["We recommend configured runs.", "The amended line", "config_figure_size"])
def test_other_word__is_accepted(text: str) -> None:
    assert not REJECTED_WORD.search(text)
