"""Small prepared volumes, written without stage data."""

from pathlib import Path
from typing import Any

import numpy as np

from medtune.data.manifest import DIGEST_COLUMNS
from medtune.data.manifest_writing import write_info
from medtune.data.sources import phantom
from medtune.data.splits import split_samples
from medtune.data.volume_inspection import array_sha256
from medtune.data.volume_store import VolumeEntry, write_volumes
from medtune.runtime.artifact import commit, partial_dir
from medtune.serving.volumes import geometry
from medtune.serving.volumes.pipeline import Preparation
from medtune.serving.volumes.resampling import resample_mask, thick_axis
from medtune.serving.volumes.volume_intensity import VolumeIntensity

PATCH = (16, 16, 16)


def write_prepared_volumes(folder: Path, params: Any, key: str = "test", patch: tuple[int, int, int] = PATCH) -> None:
    """Draw the phantoms of `params.data`, and write data/prepared in the layout of stage data.

    Args:
        folder: folder of the prepared data.
        params: params with `data.source` phantom.
        key: cache key of the artifact.
        patch: the patch in dataset.json.
    """
    import csv
    import hashlib

    data = params.data
    samples = phantom.list_samples(None, data)
    classes, strata = phantom.classes(data), sorted({sample.label for sample in samples})
    preparation = Preparation((5.0, 5.0, 6.0), (VolumeIntensity(),))
    work = partial_dir(folder)
    work.mkdir(parents=True)
    digests, file_digests = [], []
    with write_volumes(work, channels=1) as writer:
        for sample in samples:
            assert sample.volume is not None
            assert sample.volume.read is not None
            drawn = sample.volume.read()
            orientation = geometry.orientation_of(drawn.affine)
            affine = geometry.ras_affine(drawn.affine, drawn.mask.shape, orientation)
            image = np.stack([geometry.to_ras(channel, orientation) for channel in drawn.image])
            truth = np.ascontiguousarray(geometry.to_ras(drawn.mask, orientation))
            spacing = geometry.spacing(affine)
            prepared = preparation.apply(image, spacing)
            x, y, z = prepared.shape[1:]
            mask = resample_mask(truth, (x, y, z), thick_axis(spacing, preparation.spacing))
            voxels = [int((truth == value).sum()) for value in range(1, len(classes) + 1)]
            quantiles = [np.percentile(channel, (5, 25, 50, 75, 95)).tolist() for channel in image]
            entry = VolumeEntry(
                (x, y, z), truth.shape, spacing.tolist(), affine.tolist(), orientation, tuple(voxels), quantiles
            )
            writer.add(prepared, mask, truth, entry)
            digests.append(hashlib.sha256(prepared.tobytes() + mask.tobytes() + truth.tobytes()).hexdigest())
            file_digests.append((array_sha256(image.astype(np.float32)), array_sha256(truth)))
    split = split_samples(samples, tuple(strata), data.split, data.source, None, 1)
    metadata = list(samples[0].metadata)
    n_folds = split.splits.shape[1]
    with (work / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(["path", "label", "patient", "fold", "split", "sha256", "width", "height",
                      *DIGEST_COLUMNS, *metadata,
                      *(f"role_{fold}" for fold in range(n_folds))])  # fmt: skip
        columns = (digests, file_digests, split.folds.tolist(), split.splits.tolist(), writer.entries)
        for sample, sha256, of_file, fold, splits, entry in zip(samples, *columns, strict=True):
            cells = [sample.path, sample.label, sample.patient_id, fold, splits[0], sha256, *entry.original_shape[:2]]
            out.writerow([*cells, *of_file, *(sample.metadata[name] for name in metadata), *splits])
    info = {
        "name": phantom.NAME, "source": "phantom", "classes": list(classes), "license": phantom.LICENSE,
        "citation": phantom.CITATION, "faults": [], "protocol": data.split.protocol,
        "split": data.split.model_dump(mode="json"), "n_images": len(samples), "n_patients": len(samples),
        "patients_known": True, "leaked_patients": [], "notes": [], "counts": {"all": {}, "folds": {}},
        "expected": None,
        "volumes": {**preparation.document(), "channels": ["phantom"], "patch": list(patch), "strata": strata},
    }  # fmt: skip
    write_info(work, info)
    commit(folder, key, {"stage": "data", "n_images": len(samples)})
