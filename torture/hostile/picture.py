"""One file of a hostile folder of images, and what must become of it."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp"}
Draw = np.random.Generator


@dataclass(frozen=True)
class Picture:
    """One file of a hostile folder.

    Attributes:
        kind: what was done to it.
        content: its bytes; of a link, where it points; None for a pipe.
        suffix: its name ends so.
        usable: True or False: must be kept, must be rejected; None: either, whole.
        original: bytes of the undamaged picture, where the kept one must equal it.
        link: whether `content` is a link's text.
    """

    kind: str
    content: bytes | None
    suffix: str
    usable: bool | None
    original: bytes | None = None
    link: bool = False

    def write(self, path: Path) -> None:
        """Puts it at `path`."""
        if self.content is None:
            os.mkfifo(path)
        elif self.link:
            path.symlink_to(os.fsdecode(self.content))
        else:
            path.write_bytes(self.content)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file of that format."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def pixels(draw: Draw, channels: int = 3) -> np.ndarray:
    """Smooth noise of a random size, so that hardly two are alike."""
    height, width = (int(side) for side in draw.integers(8, 72, 2))
    coarse = draw.integers(0, 256, (4, 5, channels), np.uint8)
    return np.dstack([np.array(Image.fromarray(coarse[..., c]).resize((width, height))) for c in range(channels)])


Make = Callable[[Draw, str], Picture]
