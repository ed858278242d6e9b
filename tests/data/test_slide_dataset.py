from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.manifest import PreparedDataset
from medtune.data.slide_dataset import by_slide, slide_rows


@given(st.lists(st.sampled_from(["b", "a", "c", "A"]), min_size=1))
def test_slide_rows__every_tile_refers_to_its_slide(slides):
    first, index = slide_rows(tuple(slides))
    assert [slides[row] for row in first] == list(dict.fromkeys(slides))
    assert [slides[first[number]] for number in index] == slides


def test_by_slide__rows_are_slides():
    names = ("s2", "s2", "s1", "s2", "s3")
    rows = [int(name[1]) for name in names]
    prepared = PreparedDataset(
        folder=Path("x"),
        info={"tiles": {}, "n_images": 5, "n_slides": 3},
        classes=("p", "q"),
        paths=tuple(f"{name}#{number}" for number, name in enumerate(names)),
        labels=np.array(rows) % 2,
        patient_ids=np.array([f"P{row}" for row in rows]),
        folds=np.array(rows),
        splits=np.array([["train"] if row == 2 else ["test"] for row in rows]),
        images=np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8),
        sha256=tuple("abcde"),
        metadata_cells={"slide_path": names, "site": tuple("xxyxz")},
    )
    dataset = by_slide(prepared)
    assert dataset.paths == ("s2", "s1", "s3")
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.patient_ids.tolist() == ["P2", "P1", "P3"]
    assert dataset.indices(0)["test"].tolist() == [1, 2]
    assert dataset.metadata("site") == ("x", "y", "z")
    assert dataset.slide_index.tolist() == [0, 0, 1, 0, 2]
    assert (dataset.info["n_images"], dataset.info["n_tiles"]) == (3, 5)
    assert dataset.digest == prepared.digest
    assert dataset.slide_of_tile == ()
    assert prepared.slide_of_tile == names
