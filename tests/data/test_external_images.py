import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.external_images import list_images
from medtune.data.sources.folder import Params

FINDINGS = ("mass", "edema", "nodule")


@pytest.fixture
def root(tmp_path):
    lines = ["path,group,mass,edema,lump"]
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,P{number},{number % 2},1,0")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path


def params(root, columns, **options):
    return Params(root=str(root), csv="t.csv", label_type="multi", columns={"labels": columns}, **options)


def test_list_images__finding_without_a_column_is_an_error(root):
    with pytest.raises(InputError, match=r"data\.columns\.labels=mass, edema: the bundle also predicts nodule"):
        list_images(params(root, ["mass", "edema"]), FINDINGS)


def test_list_images__renamed_columns_are_findings_of_the_bundle(root):
    external = list_images(params(root, ["lump", "edema", "mass"], label_map={"lump": "nodule"}), FINDINGS)
    assert external.classes == FINDINGS
    assert [sample.findings for sample in external.listed.samples] == [("edema",), ("mass", "edema")] * 2
