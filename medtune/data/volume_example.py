"""Tiny NIfTI files for the example data sets of sources."""

from pathlib import Path

from medtune.data.synthetic.phantom import draw_phantom


def write_case(images: list[Path], mask: Path, seed: int) -> None:
    """Write a drawn volume of about 16 voxels along each axis as NIfTI files, and create their folders.

    Args:
        images: one file per channel. Each further channel has the inverted contrast of the previous one.
        mask: file of the mask, with the labels 0 to 3.
        seed: seed of the drawing.
    """
    import nibabel as nib

    volume = draw_phantom(seed, 16, lesion=True, anisotropic=seed % 3 == 0, seed=seed)
    image = volume.image[0]
    contrasts = [image if n % 2 == 0 else image.max() - image for n in range(len(images))]
    for file, array in zip([*images, mask], [*contrasts, volume.mask], strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, volume.affine), file)  # type: ignore[no-untyped-call]
