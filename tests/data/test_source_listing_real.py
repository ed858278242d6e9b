"""Small real-world inputs of ../shared/cases."""

import pytest

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.source_listing import list_source
from medtune.data.sources import folder

REJECTED = {
    "table-header-twice": "duplicate column label",
    "table-label-variants": "'Benign' .* 'benign' .*data.label_map",
    "table-patient-case": "'P0' .* 'p0' .*data.similar_patients=equal",
    "table-patient-unicode": "ller0' .*data.similar_patients=equal",
    "table-patient-unknown-marker": "line 2.*patient is 'NA'",
    "folder-name-not-utf8": "the file name is not valid UTF-8",
    "folder-train-test-val": "data.split.protocol=folders",
}
READ = {
    "table-excel-semicolon-bom": 24,
    "table-pandas-index-column": 24,
    "folder-controls-mac-windows-litter": 12,
}


def params(shared, case):
    root = shared.parent / "cases" / case
    if not root.is_dir():
        pytest.skip(f"no {root}")
    table = "labels.csv" if (root / "labels.csv").exists() else None
    return folder.Params(root=str(root), csv=table)


@pytest.mark.parametrize("case", REJECTED)
def test_cases__invalid_inputs_are_an_error(shared, case):
    with pytest.raises(InputError, match=REJECTED[case]):
        list_source(params(shared, case), has_positive=False)


@pytest.mark.parametrize("case", READ)
def test_cases__valid_inputs_are_read(shared, case):
    assert len(list_source(params(shared, case), has_positive=False).samples) == READ[case]


def test_cases__other_formats_are_counted(shared):
    listed = list_source(params(shared, "folder-other-formats-dropped"), has_positive=False)
    assert listed.left_out.files["b"][".gif"] == 6
    unused = sum(listed.left_out.files["b"].values())
    assert unused + sum(sample.label == "b" for sample in listed.samples) == 24


def test_cases__split_folders_are_published_splits(shared):
    options = params(shared, "folder-train-test-val")
    listed = list_source(options.model_copy(update={"split": SplitParams(protocol="folders")}), has_positive=False)
    assert listed.classes == ("NORMAL", "PNEUMONIA")
    assert {sample.published_splits for sample in listed.samples} == {("train",), ("val",), ("test",)}
