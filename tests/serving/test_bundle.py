import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from medtune.cli.main import call
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError, dump_manifest, read_manifest
from medtune.serving.pixels import DecodeError
from medtune.serving.tasks import classification
from medtune.tasks.classification import evaluation, folds


def test_run__returns_probabilities_for_any_batch_size(bundle_folder, by_hand):
    bundle = Bundle.load(bundle_folder)
    for n in (0, 1, 2, 7, 32):
        images = np.random.default_rng(n).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        result = bundle.run(images)
        assert result.shape == (n, 2)
        np.testing.assert_allclose(result, by_hand.probability(images), atol=1e-6)
    assert bundle.providers == ["CPUExecutionProvider"]
    assert bundle.self_test() < 1e-6


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "float32"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"\(1, 3, 8, 8\)"),
        (np.zeros((8, 8, 3), np.uint8), r"expected uint8 \(N, 8, 8, 3\)"),
    ],
)
def test_run__rejects_other_arrays(bundle_folder, array, message):
    with pytest.raises(BundleError, match=message):
        Bundle.load(bundle_folder).run(array)


def test_predict__accepts_files_bytes_pillow_images_and_arrays(bundle_folder, image_folder):
    bundle, path = Bundle.load(bundle_folder), image_folder / "a.PNG"
    with Image.open(path) as opened:
        sources = [path, str(path), path.read_bytes(), opened, np.array(opened)]
        results = bundle.predict(sources, batch_size=2)
    assert len(results) == 5
    assert results == [results[0]] * 5
    probabilities = bundle.run(bundle.prepare(path)[None])[0]
    (label,) = bundle.decide(probabilities[None])
    assert results[0].label == label
    assert list(results[0].probabilities.values()) == probabilities.tolist()
    assert results[0].probability == pytest.approx(max(probabilities), abs=1e-6)
    assert repr(results[0]) == f"Prediction(label={label!r}, probability={results[0].probability!r})"


def test_predict__accepts_one_image_or_a_stack(bundle_folder, image_folder):
    bundle = Bundle.load(bundle_folder)
    gray = np.random.default_rng(0).integers(0, 256, (9, 12), dtype=np.uint8)
    assert bundle.predict(gray) == bundle.predict([np.repeat(gray[..., None], 3, axis=2)])
    assert len(bundle.predict(np.zeros((3, 20, 10, 3), np.uint8))) == 3
    assert bundle.predict([]) == []


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("missing.png", r"missing\.png: the file does not exist"),
        (b"not an image", r"image 1: damaged, or not one of PNG"),
        (np.zeros((4, 4), np.uint16), r"image 1: an image of more than 8 bits \(values 0 to 0\)"),
        (np.zeros((4, 4, 3)), r"image 1: an array of float64 \(4, 4, 3\): expected uint8"),
        (np.zeros((3, 4, 5), np.uint8), r"image 1: an array of uint8 \(3, 4, 5\)"),
        (np.zeros((0, 4), np.uint8), r"image 1: an array of uint8 \(0, 4\)"),
    ],
)
def test_predict__error_names_the_image(bundle_folder, image, reason):
    with pytest.raises(DecodeError, match=reason):
        Bundle.load(bundle_folder).predict([np.zeros((8, 8, 3), np.uint8), image])


def test_decide__is_the_rule_of_the_evaluation():
    assert classification.decide is folds.decide is evaluation.decide


def test_load__rejects_other_folders(tmp_path):
    with pytest.raises(BundleError, match=r"it contains no bundle.json"):
        Bundle.load(tmp_path)
    assert call(["verify", str(tmp_path)]) == 2
    with pytest.raises(BundleError, match=r"bundle \S*missing: no such folder\. Check the path, or write"):
        Bundle.load(tmp_path / "missing")


@pytest.mark.parametrize("name", ["model.onnx", "sample_input.npy", "sample_output.npy"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_load__rejects_a_damaged_file(bundle_folder, name, damage):
    path = bundle_folder / name
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(BundleError, match=name):
        Bundle.load(bundle_folder)


def test_load__rejects_every_flipped_bit_of_bundle_json(bundle_folder):
    path = bundle_folder / "bundle.json"
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in [*rng.integers(0, len(content), 300), len(content) - 1]:
        broken = bytearray(content)
        broken[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(BundleError):
            Bundle.load(bundle_folder)
    path.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(bundle_folder)


def test_load__rejects_newer_schemas_and_unknown_tasks(tmp_path, by_hand):
    with pytest.raises(BundleError, match="schema version 3; this version of medtune reads 2"):
        Bundle.load(by_hand.write(tmp_path / "newer", schema_version=3))
    with pytest.raises(BundleError, match=r'key "task\.kind" is "generation", which is unknown'):
        Bundle.load(by_hand.write(tmp_path / "other", task={"kind": "generation"}))


def test_load__rejects_a_file_outside_the_folder(tmp_path, by_hand):
    folder = by_hand.write(tmp_path / "bundle")
    files = json.loads((folder / "bundle.json").read_text())["files"]
    by_hand.write(folder, files={**files, "../secret": "0" * 64})
    with pytest.raises(BundleError, match="outside"):
        Bundle.load(folder)


def test_load__rejects_external_data_and_invalid_models(tmp_path, by_hand):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "w.bin").write_bytes(np.zeros((3, 2), np.float32).tobytes())
    with pytest.raises(BundleError, match="external data"):
        Bundle.load(by_hand.write(tmp_path / "bundle", by_hand.model(external="w.bin")))
    with pytest.raises(BundleError, match="not an ONNX model"):
        Bundle.load(by_hand.write(tmp_path / "text", b"not a model"))


def test_load__missing_precision_gives_the_reason(bundle_folder):
    with pytest.raises(BundleError, match=r"no fp16 model \(3 images came out NaN\)\. Choose one of: fp32"):
        Bundle.load(bundle_folder, precision="fp16")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "abacus"])
def test_load__inactive_provider_is_an_error(bundle_folder, provider, capfd):
    if provider == "cuda" and _gpu():
        pytest.skip("there is a GPU here")
    with pytest.raises(BundleError, match=provider):
        Bundle.load(bundle_folder, provider=provider)
    assert capfd.readouterr().out == ""


def test_self_test__different_outputs_are_an_error(bundle_folder):
    path = bundle_folder / "sample_output.npy"
    np.save(path, np.full((4, 2), 0.5, np.float32))
    content = read_manifest(bundle_folder)
    content["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle_folder / "bundle.json").write_text(dump_manifest(content))
    with pytest.raises(BundleError, match="differ from the bundle's sample outputs by"):
        Bundle.load(bundle_folder).self_test()


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_self_test__pickled_samples_are_rejected_without_unpickling(bundle_folder):
    path = bundle_folder / "sample_input.npy"
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    content = read_manifest(bundle_folder)
    content["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle_folder / "bundle.json").write_text(dump_manifest(content))
    with pytest.raises(BundleError, match=r"is not a valid \.npy file"):
        Bundle.load(bundle_folder).self_test()


def test_verify__reports_a_valid_bundle(bundle_folder, capsys):
    assert call(["verify", str(bundle_folder)]) == 0
    assert (
        "sound: 3 files verified, blue, red; red if prob_red >= 0.7; fp32 on CPUExecutionProvider"
        in capsys.readouterr().out
    )


def _gpu() -> bool:
    return Path("/dev/nvidia0").exists() or Path("/dev/nvidiactl").exists()


def int8_bundle(by_hand, folder: Path, tolerance: float | None) -> Path:
    """Write a bundle whose int8 outputs differ by up to 0.1 from its samples."""
    graph = onnx.load_model_from_string(by_hand.model())
    weight = next(t for t in graph.graph.initializer if t.name == "weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(0.3), "weight"))
    folder.mkdir()
    (folder / "model.int8.onnx").write_bytes(graph.SerializeToString())
    fp32 = {"file": "model.onnx", "shipped": True, "reason": None}
    int8 = {"file": "model.int8.onnx", "shipped": True, "reason": None, "sample_tolerance": tolerance}
    return by_hand.write(folder, precisions={"fp32": fp32, "int8": int8})


def test_load__int8_compares_samples_with_the_measured_tolerance(tmp_path, by_hand):
    bundle = Bundle.load(int8_bundle(by_hand, tmp_path / "wide", 0.3), "int8")
    assert 0.051 < bundle.self_test() < 0.3
    for name, tolerance in (("narrow", 0.01), ("unstated", None)):
        with pytest.raises(BundleError, match=r"int8 outputs on CPUExecutionProvider differ from .* by 0\.\d+"):
            Bundle.load(int8_bundle(by_hand, tmp_path / name, tolerance), "int8")
