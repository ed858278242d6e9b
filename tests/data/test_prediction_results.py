"""Tables and label maps of `medtune predict` in a data root."""

from medtune.data.prediction_results import find_results, is_results_table, without_label_maps
from medtune.serving.tasks import segmentation
from medtune.serving.volumes.cases import TABLE_END

COLUMNS = ("path", *segmentation.columns({"classes": ["liver"], "volumes": {}}), "seconds")


def test_is_results_table__knows_the_columns_of_predict():
    assert is_results_table(COLUMNS)
    assert ",".join(COLUMNS).endswith(TABLE_END)
    assert is_results_table(("path", "pixels_cell", "uncertainty_cell", "flags", "seconds"))
    assert not is_results_table(("path", "mask", "flags", "seconds"))
    assert not is_results_table(COLUMNS[1:])
    assert not is_results_table(COLUMNS[:-1])
    assert not is_results_table(())


def test_find_results__leaves_out_the_label_maps_in_their_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "volumes.csv").write_text(",".join(COLUMNS))
    (tmp_path / "volumes.csv").write_text("\ufeff" + ",".join(COLUMNS))
    (tmp_path / "b" / "volumes.csv").write_bytes(b"path,mask\xff\0\n")
    found = find_results(tmp_path, ["a/volumes.csv", "b/volumes.csv", "volumes.csv", "b/missing.csv", "x.txt"])
    assert found == ["a/volumes.csv", "volumes.csv"]
    files = ["0.nii.gz", "a/0.nii.gz", "a/x/0.nii.gz", "b/0.nii.gz"]
    assert without_label_maps(files, found) == ["0.nii.gz", "a/x/0.nii.gz", "b/0.nii.gz"]
