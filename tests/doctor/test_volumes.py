"""Tests of the check of volumes."""

from pathlib import Path

import pytest

from medtune.config.load import load
from medtune.data.sources import decathlon
from medtune.doctor.check_result import Context
from medtune.doctor.data import check_data
from medtune.runtime.paths import RunPaths

TASK = ("task.kind=segmentation", "model.head.kind=decoder", "data.split.protocol=image",
        "frozen.monitor=dice", "finetune.monitor=dice", "gate.metric=dice")  # fmt: skip


def make_context(out: Path, *sets: str) -> Context:
    return Context(load(sets=[*TASK, *sets]), RunPaths(out, out / "cache"))


def test_volumes__reads_a_sample_and_determines_the_patch(tmp_path: Path) -> None:
    decathlon.example(tmp_path / "set")
    context = make_context(tmp_path, "data.source=decathlon", f"data.root={tmp_path / 'set'}")
    result = check_data(context)
    assert result.state == "ok", result
    assert result.message.startswith(f"12 volumes in {tmp_path / 'set'} (data.source=decathlon), labels upper organ,")
    sizes = context.facts["volumes"]
    assert (context.facts["images"], sizes.channels, sizes.classes) == (12, 1, 4)
    assert all(side % 8 == 0 for side in sizes.patch)
    assert f"patch {' x '.join(map(str, sizes.patch))} voxels" in result.message


def test_volumes__drawn_volumes_and_a_fixed_patch(tmp_path: Path) -> None:
    sets = ["data.source=phantom", "data.patients=6", "data.size=16", "data.patch=[8, 8, 8]", "task.overlap=0"]
    context = make_context(tmp_path, *sets)
    assert check_data(context).message.startswith("6 volumes (data.source=phantom)")
    sizes = context.facts["volumes"]
    assert sizes.patch == (8, 8, 8)
    assert sizes.windows == pytest.approx(sizes.voxels / 512, rel=1)


def test_volumes__damaged_and_missing_files_are_errors(tmp_path: Path) -> None:
    decathlon.example(tmp_path)
    sets = ["data.source=decathlon", f"data.root={tmp_path}"]
    mask = tmp_path / "labelsTr" / "case_000.nii.gz"
    mask.write_bytes(b"x" * 400)
    result = check_data(make_context(tmp_path, *sets))
    assert (result.state, "case_000.nii.gz" in result.message) == ("wrong", True)
    assert check_data(make_context(tmp_path, *sets, "data.on_bad_image=reject")).state == "warning"
    mask.unlink()
    assert "1 of 12 cases lack a file: case_000 has no mask" in check_data(make_context(tmp_path, *sets)).message
