"""Loading of a bundle for images or for volumes."""

from pathlib import Path
from typing import TYPE_CHECKING

from medtune.serving.bundle import Bundle
from medtune.serving.manifest import read_manifest
from medtune.serving.manifest_fields import VOLUMES

if TYPE_CHECKING:
    from medtune.serving.volumes.bundle import VolumeBundle


def load_bundle(
    folder: Path | str, precision: str = "fp32", provider: str = "cpu", threads: int = 0, busy_wait: bool = True
) -> "Bundle | VolumeBundle":
    """Load a bundle of any kind and verify the SHA-256 of every file.

    Args:
        folder: folder of the bundle.
        precision: fp32, or another precision that the bundle contains.
        provider: cpu, cuda or tensorrt.
        threads: number of CPU threads per prediction; 0 for all cores.
        busy_wait: let idle threads spin during a prediction, which is faster but uses all cores.

    Returns:
        The loaded bundle: a `VolumeBundle` for segmentation, otherwise a `Bundle`.

    Raises:
        medtune.serving.manifest.BundleError: the bundle cannot be used.
    """
    if VOLUMES not in read_manifest(Path(folder)):
        return Bundle.load(folder, precision, provider, threads, busy_wait)
    from medtune.serving.volumes.bundle import VolumeBundle

    return VolumeBundle.load(folder, precision, provider, threads, busy_wait)
