"""Selection of test images, and of networks that have not seen their patients."""

from types import SimpleNamespace

import numpy as np

from medtune.data.manifest import load_prepared
from medtune.stages.gate_selection import common_images, select_tested
from tests.stages.drawn_folder import draw, prepare


def dataset(patients=9, folds=3):
    """Create two images per patient, where patient k is a test patient of fold k % folds."""
    ids = np.repeat(np.arange(patients), 2)
    splits = np.full((len(ids), folds), "train", "<U8")
    for fold in range(folds):
        splits[ids % folds == fold, fold] = "test"
        splits[ids % folds == (fold - 1) % folds, fold] = "val"
    return SimpleNamespace(
        paths=[f"{k}.png" for k in range(len(ids))],
        patient_ids=np.array([f"P{k}" for k in ids]),
        sha256=[f"sha{k}" for k in range(len(ids))],
        names=["a"] * len(ids),
        splits=splits,
        slide_of_tile=(),
        file_digests={},
    )


def manifest(prepared, patients, splits=None):
    """Return manifest.csv of a champion that was trained on the first `patients` patients."""
    splits = prepared.splits if splits is None else splits
    lines = ["path,label,group,sha256," + ",".join(f"role_{k}" for k in range(splits.shape[1]))]
    for row in range(2 * patients):
        roles = ",".join(splits[row])
        lines.append(f"{prepared.paths[row]},a,{prepared.patient_ids[row]},{prepared.sha256[row]},{roles}")
    return "\n".join(lines) + "\n"


def seen_patients(prepared, fold):
    return set(prepared.patient_ids[np.isin(prepared.splits[:, fold], ("train", "val"))])


def test_select_tested__selects_the_network_of_the_fold():
    prepared = dataset()
    rows, networks = select_tested(prepared, [0, 1, 2])
    assert rows.tolist() == list(range(18))
    assert all(
        prepared.patient_ids[row] not in seen_patients(prepared, fold) for row, fold in zip(rows, networks, strict=True)
    )
    rows, networks = select_tested(prepared, [2])
    assert set(prepared.patient_ids[rows]) == {"P2", "P5", "P8"}
    assert networks.tolist() == [0] * 6


def test_common_images__selected_networks_have_not_seen_the_patient():
    prepared = dataset()
    rows, networks = select_tested(prepared, [0, 1, 2])
    selected, champion_networks, notes, changed = common_images(
        prepared, rows, networks, manifest(prepared, 6), [0, 1, 2]
    )
    assert selected.tolist() == list(range(18))  # including patients that are new to the champion
    assert (notes, changed) == ([], "")
    for row, fold in zip(rows[:12], champion_networks[:12], strict=True):
        assert prepared.patient_ids[row] not in seen_patients(prepared, fold)
    assert champion_networks[12:].tolist() == networks[12:].tolist()


def test_common_images__seen_patients_of_a_single_network_are_excluded():
    prepared = dataset()
    rows, networks = select_tested(prepared, [0, 1, 2])
    selected, champion_networks, notes, _ = common_images(prepared, rows, networks, manifest(prepared, 9), [1])
    assert set(prepared.patient_ids[rows[selected]]) == {"P1", "P4", "P7"}
    assert champion_networks.tolist() == [0] * 6
    assert notes == ["left out because of patients in the training data of the champion: 12 test images of 6 patients"]


def test_common_images__network_that_has_seen_the_pixels_is_not_used():
    """Copy an image of a known patient to a new patient; only the network that tested the image may predict it."""
    prepared = dataset()
    prepared.sha256[12] = prepared.sha256[2]  # P6 has an image of P1, who is a test patient of fold 1
    rows, networks = select_tested(prepared, [0, 1, 2])
    assert networks[12] == 0
    selected, champion_networks, notes, _ = common_images(prepared, rows, networks, manifest(prepared, 6), [0, 1, 2])
    assert (champion_networks[12], champion_networks[13]) == (1, 0)
    assert (len(selected), notes) == (18, [])


def test_common_images__renamed_training_image_is_excluded(tmp_path):
    draw(tmp_path / "raw", images_per_patient=1)
    prepared = load_prepared(prepare(tmp_path / "raw", "data.split.folds=3").folder)
    rows = prepared.indices(1)["test"]
    line = "old/{}.png,a,Q{},{},{}"
    champion_rows = [
        line.format(k, k, prepared.sha256[row], "train" if k == 0 else "test") for k, row in enumerate(rows)
    ]
    manifest = "\n".join(["path,label,patient,sha256,role_1", *champion_rows])
    selected, champion_networks, notes, changed = common_images(prepared, rows, np.zeros(len(rows), int), manifest, [1])
    assert rows[selected].tolist() == rows.tolist()[1:]
    assert champion_networks.tolist() == [0] * (len(rows) - 1)
    assert notes == [
        "left out because of identical images in the training data of the champion: 1 test image "
        f"(first: {prepared.paths[rows[0]]})"
    ]
    assert changed == ""
