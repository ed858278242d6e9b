"""Folders of small volumes, and stage data on them."""

import json

import nibabel as nib
import numpy as np

from medtune.cli.main import call
from medtune.config import registry
from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import partial_dir
from medtune.runtime.paths import RunPaths
from medtune.stages import data
from tests.robustness.volumes.commands import PARAMS

PHANTOM = {"source": "phantom", "patients": 15, "size": 16}
# Start of the note about settings that depend on all volumes.
FROM_ALL_VOLUMES = (
    "These settings were determined from all volumes, as in nnU-Net, because each is a training volume of at least one "
    "fold: "
)


def volume_params(section, **sections):
    """Return params of a segmentation with the given section data."""
    return validate(
        {
            "schedule": "frozen",
            "task": {"kind": "segmentation"},
            "data": section,
            "model": {"backbone": "unet", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "none"}},
            "frozen": {"monitor": "loss"},
            "finetune": {"monitor": "loss"},
            "gate": {"metric": "dice"},
            "tracking": {"mode": "disabled"},
            **sections,
        }
    )


def write_example(source, root):
    """Write the example of a source to `root` and return its section data."""
    root.mkdir(parents=True, exist_ok=True)
    example = registry.load_plugin("medtune.data.sources", source, "data.source").example(root)
    return {"source": source, "root": str(root), **example}


def prepare(section, out, **sections):
    """Run stage data and return the prepared data set."""
    return load_prepared(data.run(volume_params(section, **sections), RunPaths.from_env(out)).folder)


def refusal(section, folder, capsys):
    """Run `medtune data`, which must end with exit code 2 and one line, and return this line without `error: `."""
    file, out = folder / "params.json", folder / "out"
    file.write_text(json.dumps({**PARAMS, "data": section}))
    capsys.readouterr()
    assert call(["data", "--params", str(file), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    prepared = out / "data" / "prepared"
    assert not prepared.exists()
    assert not partial_dir(prepared).exists()
    return line.removeprefix("error: ")


def report(prepared):
    return json.loads((prepared.folder / "report.json").read_text())


def change(path, values=None, affine=None, mask=None):
    """Replace the values or the affine of a NIfTI file."""
    image = nib.load(path)
    array = np.asarray(image.dataobj) if values is None else np.asarray(values)
    nib.save(nib.Nifti1Image(array, image.affine if affine is None else affine), path)
