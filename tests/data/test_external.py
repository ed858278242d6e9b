import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.external import list_external
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


def params(root, columns, **more):
    return Params(root=str(root), csv="t.csv", label_type="multi", columns={"labels": columns}, **more)


def test_list_external__a_finding_without_a_column_is_unknown_not_absent(root):
    with pytest.raises(InputError, match=r"data\.columns\.labels=mass, edema: the bundle also predicts nodule"):
        list_external(params(root, ["mass", "edema"]), FINDINGS)


def test_list_external__renamed_columns_are_the_bundles_findings(root):
    found = list_external(params(root, ["lump", "edema", "mass"], label_map={"lump": "nodule"}), FINDINGS)
    assert found.classes == FINDINGS
    assert [sample.findings for sample in found.listed.samples] == [("edema",), ("mass", "edema")] * 2
