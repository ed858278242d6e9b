"""Tar, zip and npz files that try to write outside their folder, expand to a huge size or have false headers."""

import shutil
import stat
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data import archive as product
from medtune.data.sources import medmnist
from tests.robustness.archives import kinds, npz
from tests.robustness.archives.kinds import OUTSIDE, Archive, pack
from tests.robustness.profile import examples, scale

pytestmark = [
    pytest.mark.faults(
        row=5,
        title="an archive contains `..`, absolute paths, links or devices, or expands to a huge size, or an npz file "
        "has a false header",
        target="The file is refused. Nothing is written outside the destination folder",
    ),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]
MAX_HEADER_MEMORY = 50 << 20


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """Return the folder of the archive and of the cache."""
    folder = tmp_path / "sandbox" / "work"
    monkeypatch.setenv("MEDTUNE_CACHE", str(folder / "cache"))
    monkeypatch.setattr(product, "MAX_FILES", kinds.MAX_FILES)
    return folder


@pytest.mark.parametrize("kind", kinds.KINDS)
@examples(small=1, full=30)
@given(data=st.data())
def test_archives__write_nothing_outside_the_folder(faults, work, kind, data):
    faults.count(f"{kind} {faults.injected}", problem(work, data.draw(kinds.KINDS[kind])))


@pytest.mark.parametrize("kind", scale(kinds.HEADER_TYPES[:1], kinds.HEADER_TYPES))
def test_archives__a_huge_header_is_not_read_into_memory(faults, work, kind):
    archive = kinds.huge_header(kind)
    tracemalloc.start()
    fault = problem(work, archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if peak > MAX_HEADER_MEMORY:
        fault = fault or f"{peak:,} bytes of memory"
    faults.count(f"header of type {kind!r}", fault)


@examples(small=6, full=200)
@given(name=st.sampled_from(["intact", *npz.INVALID]))
def test_archives__npz_files_with_false_headers_are_refused(faults, tmp_path, name):
    content = npz.pack(*npz.INVALID[name]) if name in npz.INVALID else npz.INTACT
    faults.count(name, npz_problem(tmp_path / "a.npz", content, usable=name == "intact"))


@examples(small=3, full=200)
@given(content=kinds.damaged(npz.INTACT))
def test_archives__damaged_npz_files_are_read_unchanged_or_refused(faults, tmp_path, content):
    faults.count(f"damaged {faults.injected}", npz_problem(tmp_path / "a.npz", content, usable=None))


@pytest.mark.parametrize("bomb", scale([npz.bomb_rows], [npz.bomb_rows, npz.bomb_row]))
def test_archives__npz_bombs_are_refused(faults, tmp_path, bomb):
    faults.count(bomb.__name__, npz_problem(tmp_path / "a.npz", bomb(), usable=False))


@pytest.mark.parametrize("name", ["../out.png", f"{OUTSIDE}/out.png"], ids=["parent", "absolute"])
def test_archives__a_file_outside_is_noticed(work, monkeypatch, name):
    monkeypatch.setattr(product, "_safe_parts", lambda archive, name: (name,))
    archive = Archive(pack([(name, b"bad")], ".tar"), ".tar")
    assert problem(work, archive).startswith("written outside")


@pytest.mark.parametrize(("limit", "value"), [("MAX_SMALL", 1 << 30), ("MAX_GROWTH", 100)])
def test_archives__an_unpacked_bomb_is_noticed(work, monkeypatch, limit, value):
    monkeypatch.setattr(product, limit, value)
    archive = Archive(pack([("x.png", kinds.bomb(3_500_000))], ".zip"), ".zip")
    assert problem(work, archive) == "unpacked"


def test_archives__a_changed_array_is_noticed(tmp_path):
    content = npz.pack(npz.npy(npz.IMAGES), npz.npy(1 - npz.LABELS))
    assert npz_problem(tmp_path / "a.npz", content, usable=None) == "arrays differ from the written ones"


def problem(work, archive):
    """Unpack an archive and return the first problem, or None."""
    root = work.parent
    shutil.rmtree(root, ignore_errors=True)
    (work / "cache" / "archives").mkdir(parents=True)
    (root / "victim").mkdir()
    (root / "victim" / "secret.txt").write_text("secret")
    path, folder, messages = work / f"archive{archive.suffix}", None, []
    path.write_bytes(archive.content)
    before = entries(root.parent)
    for function in (product.first_member, product.unpack_cached):
        try:
            folder = function(path)
        except InputError as error:
            folder = None
            messages.append(str(error))
    changed = {entry for entry, *_ in entries(root.parent) ^ before if entry.suffix != ".lock"}
    outside = [str(entry) for entry in sorted(changed) if not (folder and entry.is_relative_to(folder))]
    if outside or OUTSIDE.exists():
        shutil.rmtree(OUTSIDE, ignore_errors=True)
        return f"written outside: {', '.join(outside[:3]) or OUTSIDE}"
    if any("\n" in message or str(path) not in message for message in messages):
        return f"not one line with the path: {messages}"
    if folder is None:
        return f"refused: {messages[-1]}" if archive.usable else None
    return "unpacked" if archive.usable is False else difference(folder, archive)


def entries(folder):
    """Return path, type and content of everything in a folder."""
    modes = {path: stat.S_IFMT(path.lstat().st_mode) for path in folder.rglob("*")}
    return {(path, mode, path.read_bytes() if stat.S_ISREG(mode) else b"") for path, mode in modes.items()}


def difference(folder, archive):
    """Return how the unpacked files differ from those of the archive, or None."""
    unpacked = [entry for entry in entries(folder) if not stat.S_ISDIR(entry[1])]
    if not all(stat.S_ISREG(mode) for _, mode, _ in unpacked):
        return "unpacked a special file"
    files = {path.relative_to(folder).as_posix(): content for path, _, content in unpacked}
    if archive.files is None or files == archive.files:
        return None
    # A plain .tar has no checksum of the contents, so only the number of files can be verified.
    if archive.suffix == ".tar" and len(files) == len(archive.files):
        return None
    return f"unpacked {sorted(files)}, which differ from the {len(archive.files)} packed files"


def npz_problem(path, content, usable):
    """Read an npz file with the data source and return the first problem, or None."""
    path.write_bytes(content)
    params = medmnist.Params(root=str(path))
    try:
        samples = medmnist.list_samples(path, params)
        images = np.stack([sample.read() for sample in samples])
    except InputError as error:
        if "\n" in str(error) or str(path) not in str(error):
            return f"not one line with the path: {error}"
        return f"refused: {error}" if usable else None
    if usable is False:
        return "read"
    labels = [medmnist.classes(params).index(sample.label) for sample in samples]
    equal = np.array_equal(images, npz.IMAGES) and np.array_equal(labels, npz.LABELS[:, 0])
    return None if equal else "arrays differ from the written ones"
