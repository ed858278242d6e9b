import hashlib
import json
import os
from pathlib import Path

import pytest

from medtune.cli.main import call
from medtune.registry import rollback
from medtune.registry.store import ModelStore, open_store, previous_bundle
from medtune.serving.manifest import BundleError, dump_manifest


def bundle(folder: Path, champion: str | None = None) -> Path:
    """Write a minimal bundle. The store does not run the model."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(os.urandom(64))
    files = {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()}
    document = {
        "schema_version": 1,
        "task": {"kind": "classification"},
        "classes": ["a", "b"],
        "input": {"name": "images"},
        "output": {"name": "probabilities"},
        "preprocessing": {"image_size": 8, "resize": "squash"},
        "decision": {"kind": "argmax"},
        "precisions": {"fp32": {"file": "model.onnx", "shipped": True}},
    }
    document |= {"files": files, "gate": {"champion": champion}}
    (folder / "bundle.json").write_text(dump_manifest(document))
    return folder


@pytest.fixture(params=["folder", "memory"])
def target(request, tmp_path) -> ModelStore:
    name = request.node.name.replace("[", "-").replace("]", "")
    return open_store("store" if request.param == "folder" else f"memory://{name}", tmp_path)


def promote_bundles(target: ModelStore, tmp_path: Path, *names: str) -> None:
    previous = None
    for name in names:
        target.upload(bundle(tmp_path / "bundles" / name, previous), name)
        target.set_current(name)
        target.append_history({"time": "2026-01-01T00:00:00", "decision": "promoted", "challenger": name})
        previous = name


def test_store__uploaded_bundle_becomes_current(target, tmp_path):
    assert (target.current(), target.bundles(), target.history()) == (None, [], [])
    target.upload(bundle(tmp_path / "one"), "one")
    assert target.current() is None
    target.set_current("one")
    assert (target.current(), target.bundles()) == ("one", ["one"])
    fetched = target.fetch("one", tmp_path / "cache")
    assert (fetched / "model.onnx").read_bytes() == (tmp_path / "one" / "model.onnx").read_bytes()


def test_store__current_bundle_cannot_be_removed(target, tmp_path):
    promote_bundles(target, tmp_path, "one", "two")
    with pytest.raises(BundleError, match="two: the current bundle"):
        target.remove("two")
    target.remove("one")
    assert target.bundles() == ["two"]


def test_store__history_keeps_every_line(target, tmp_path):
    promote_bundles(target, tmp_path, "one", "two")
    assert [line["challenger"] for line in target.history()] == ["one", "two"]


def damage(folder: Path) -> Path:
    """Flip a bit of the model in the folder of a bundle."""
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return folder


def test_store__upload_rejects_a_damaged_bundle(target, tmp_path):
    with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
        target.upload(damage(bundle(tmp_path / "one")), "one")
    assert target.bundles() == []


def test_url_store__upload_reads_every_file_back(tmp_path, monkeypatch):
    target = open_store("memory://read-back", tmp_path)
    put_file = type(target.files).put_file

    def truncate(self, local, remote, **options):
        put_file(self, local, remote, **options)
        self.pipe_file(remote, self.cat_file(remote)[:-1])

    monkeypatch.setattr(type(target.files), "put_file", truncate)
    with pytest.raises(BundleError, match=r"read-back: model\.onnx was damaged during the upload"):
        target.upload(bundle(tmp_path / "one"), "one")
    assert target.bundles() == []


def test_folder__fetch_rejects_a_damaged_bundle(tmp_path):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one")
    damage(tmp_path / "store" / "bundles" / "one")
    with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
        target.fetch("one", tmp_path / "cache")


def test_url_store__fetch_rejects_a_damaged_bundle(tmp_path):
    target = open_store("memory://damaged", tmp_path)
    promote_bundles(target, tmp_path, "one")
    target.files.pipe_file("/damaged/bundles/one/model.onnx", b"other content")
    for _ in range(2):  # also if the first attempt left files in the cache
        with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
            target.fetch("one", tmp_path / "cache")


def test_url_store__fetch_replaces_a_damaged_copy(tmp_path):
    target = open_store("memory://intact", tmp_path)
    promote_bundles(target, tmp_path, "one")
    content = (damage(target.fetch("one", tmp_path / "cache")) / "model.onnx").read_bytes()
    assert (target.fetch("one", tmp_path / "cache") / "model.onnx").read_bytes() != content


def test_rollback__to_the_previous_bundle_and_back(target, tmp_path):
    promote_bundles(target, tmp_path, "one", "two", "three")
    assert previous_bundle(target, tmp_path / "cache") == "two"
    assert rollback.rollback(target, None, "worse in use", tmp_path / "cache") == ("three", "two")
    assert target.current() == "two"
    assert target.history()[-1]["because"] == "worse in use"
    assert rollback.rollback(target, "three", "", tmp_path / "cache") == ("two", "three")
    assert target.bundles() == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (None, "one is the first bundle"),
        ("nine", "no bundle nine. Choose one of: one"),
        ("one", "is the current bundle already"),
    ],
)
def test_rollback__invalid_request_changes_nothing(target, tmp_path, to, message):
    promote_bundles(target, tmp_path, "one")
    with pytest.raises(BundleError, match=message):
        rollback.rollback(target, to, "", tmp_path / "cache")
    assert target.current() == "one"


def test_rollback__rejects_a_damaged_bundle(tmp_path, capsys):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one", "two")
    path = tmp_path / "store" / "bundles" / "one" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert call(["rollback", str(tmp_path / "store")]) == 2
    assert "damaged" in capsys.readouterr().err
    assert target.current() == "two"


def test_rollback__list_changes_nothing(tmp_path, capsys):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one", "two")
    assert call(["rollback", str(tmp_path / "store"), "--list"]) == 0
    assert "* two" in capsys.readouterr().out
    assert target.current() == "two"


def test_folder__ignores_partial_bundles(tmp_path):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one")
    partial = tmp_path / "store" / "bundles" / ".two.partial"
    partial.mkdir()
    (partial / "model.onnx").write_bytes(b"half")
    assert target.bundles() == ["one"]
    target.upload(bundle(tmp_path / "three"), "three")
    assert not partial.exists()


def test_folder__rejects_copied_and_broken_links(tmp_path):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one")
    link = tmp_path / "store" / "current"
    link.unlink()
    link.symlink_to("bundles/gone")
    with pytest.raises(BundleError, match="links to gone, which does not exist"):
        target.current()
    link.unlink()
    link.mkdir()
    with pytest.raises(BundleError, match="expected a symbolic link"):
        target.current()


def test_folder__repairs_a_truncated_history_line(tmp_path):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one")
    path = tmp_path / "store" / "history.jsonl"
    path.write_text(path.read_text().split("\n", 1)[1] + '{"time": "20')  # as earlier versions wrote it
    assert len(target.history()) == 1
    target.append_history({"decision": "refused"})
    assert [json.loads(line)["decision"] for line in path.read_text().splitlines()[1:]] == ["promoted", "refused"]


def test_store__lost_pointer_is_an_error(target, tmp_path):
    promote_bundles(target, tmp_path, "one", "two")
    if hasattr(target, "url"):
        target.files.rm_file(f"{target.root}/current.json")
    else:
        (target.folder / "current").unlink()
    with pytest.raises(BundleError, match=r"missing, although two was accepted\. .*--to two`"):
        target.current()
    assert rollback.rollback(target, "two", "it was lost", tmp_path / "cache") == ("none", "two")
    assert target.current() == "two"


def test_folder__rejects_a_link_to_another_folder(tmp_path):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one")
    link = tmp_path / "store" / "current"
    link.unlink()
    link.symlink_to("bundlez/one")
    with pytest.raises(BundleError, match="links to bundlez/one, which is not a folder in bundles/"):
        target.current()


def test_folder__rejects_a_changed_history(tmp_path):
    target = open_store("store", tmp_path)
    promote_bundles(target, tmp_path, "one", "two")
    path = tmp_path / "store" / "history.jsonl"
    text = path.read_text()
    for broken in (text.replace("promoted", "refused_"), text[:20], text[:-3], ""):
        path.write_text(broken)
        with pytest.raises(BundleError, match=r"history\.jsonl: the history is damaged"):
            target.history()


def test_url_store__ignores_uploads_without_bundle_json(tmp_path):
    target = open_store("memory://half", tmp_path)
    target.files.pipe_file("/half/bundles/one/model.onnx", b"half")
    assert target.bundles() == []


@pytest.mark.parametrize("name", ["../../precious", "/precious", "..", "", "a/b"])
def test_url_store__rejects_a_pointer_to_another_path(tmp_path, name):
    target = open_store("memory://elsewhere", tmp_path)
    target.files.pipe_file("/elsewhere/current.json", json.dumps({"bundle": name}).encode())
    (tmp_path / "precious").mkdir()
    (tmp_path / "cache").mkdir()
    with pytest.raises(BundleError, match="letters, digits"):
        target.current()
    with pytest.raises(BundleError, match="letters, digits"):
        target.fetch(name, tmp_path / "cache")
    assert (tmp_path / "precious").is_dir()


def test_open_store__unknown_scheme(tmp_path):
    with pytest.raises(BundleError, match=r"handoff.target=nowhere://bucket: fsspec does not support nowhere://"):
        open_store("nowhere://bucket", tmp_path)


@pytest.mark.parametrize(
    ("target", "message"), [("absent", "no such folder"), ("nowhere://bucket", "fsspec does not support nowhere://")]
)
def test_rollback__names_the_argument(tmp_path, monkeypatch, capsys, target, message):
    monkeypatch.chdir(tmp_path)
    assert call(["rollback", target, "--list"]) == 2
    assert f"TARGET={target}: {message}" in capsys.readouterr().err
