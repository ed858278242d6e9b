"""One archive from a stranger, and what must become of it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Where absolute names lead: it must never be there.
OUTSIDE = Path(tempfile.gettempdir()) / "medtune-torture-outside"

Draw = np.random.Generator
Files = dict[str, bytes]


@dataclass(frozen=True)
class Archive:
    """A file to be unpacked.

    Attributes:
        kind: what is wrong with it.
        content: its bytes.
        suffix: its name ends so.
        usable: True: must be unpacked; False: must be refused; None: either.
        files: what unpacking must give, where it is known; None: anything inside the folder.
    """

    kind: str
    content: bytes
    suffix: str
    usable: bool | None
    files: Files | None = None


def good(draw: Draw) -> Files:
    """A few plain files."""
    return {f"{'ab'[n % 2]}/{n}.png": draw.bytes(int(draw.integers(1, 3000))) for n in range(draw.integers(2, 6))}


def hostile_name(draw: Draw) -> str:
    """A member's name that must not be followed."""
    up = "../" * int(draw.integers(1, 4))
    names = (
        f"{up}out.png", f"a/../{up}out.png", f"./{up}out.png", f"a/b/../../{up}out.png", f"{up}victim/secret.txt",
        up.replace("/", "\\") + "out.png", "a\\" + up.replace("/", "\\") * 2 + "out.png", "..", "a/..",
        f"{OUTSIDE}/out.png", f"/{OUTSIDE}/out.png", f"//{OUTSIDE}/out.png", "C:\\out.png", "c:/out.png", "C:out.png",
        "\\\\server\\share\\out.png", "file:///out.png", "a/out.png:stream", "n" * 300, "d/" * 90 + "n" * 300,
        "d/" * 2500 + "out.png", "d/" * 40_000 + "out.png", ("n" * 200 + "/") * 30 + "out.png",
    )  # fmt: skip
    return names[draw.integers(len(names))]
