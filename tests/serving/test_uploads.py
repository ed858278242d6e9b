import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from medtune.serving.request_errors import TooLargeError
from medtune.serving.uploads import limited, read_files, store_files

HEAD = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
END = b"\r\n--b--\r\n"


def read(body, max_files=10, chunk=7, boundary="b"):
    async def chunks():
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    headers = Headers({"content-type": f"multipart/form-data; boundary={boundary}"})
    return asyncio.run(read_files(headers, chunks(), max_files))


@given(content=st.binary(max_size=200), chunk=st.integers(1, 50))
def test_read_files__returns_the_bytes_unchanged(content, chunk):
    body = HEAD.replace(b"--b", b"--limit") + content + END.replace(b"--b", b"--limit")
    assert read(body, chunk=chunk, boundary="limit") == [("a.png", content)]


def test_read_files__ignores_fields():
    note = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    assert read(note + HEAD + b"x" + END) == [("a.png", b"x")]


def test_read_files__limits_the_number_of_files():
    part = HEAD + b"x\r\n"
    assert len(read(part * 2 + HEAD + b"x" + END, max_files=3)) == 3
    with pytest.raises(TooLargeError, match="more than 2 files"):
        read(part * 2 + HEAD + b"x" + END, max_files=2)


BODY = HEAD + b"first\r\n" + HEAD + b"second" + END


def test_read_files__rejects_a_truncated_body():
    for length in range(len(BODY) - 4):
        with pytest.raises(ValueError, match=r"truncated|invalid"):
            read(BODY[:length])


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n" + b"\r\n--b" * 1_000_000 + b"--\r\n",
        b"--b\r\n" + b"a:\r\n" * 1_000_000 + b"\r\nx\r\n--b--\r\n",
        HEAD.replace(b"a.png", b"n" * 10_000_000) + b"x" + END,
        (HEAD + b"x\r\n") * 100_000 + b"--b--\r\n",
    ],
    ids=["many parts", "many headers", "a long header", "many files"],
)
def test_read_files__stops_early_at_a_hostile_body(body):
    consumed = 0

    async def chunks():
        nonlocal consumed
        for start in range(0, len(body), 65_536):
            consumed += 65_536
            yield body[start : start + 65_536]

    with pytest.raises(ValueError, match=r"invalid|more than"):
        asyncio.run(read_files(Headers({"content-type": "multipart/form-data; boundary=b"}), chunks(), 64))
    assert consumed < 200_000


def store(body, folder, headers, max_files=10, chunk=7):
    async def chunks():
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    return asyncio.run(store_files(Headers(headers), chunks(), max_files, folder))


FORM = {"content-type": "Multipart/Form-Data; boundary=b"}


def test_store_files__writes_every_file(tmp_path):
    body = HEAD.replace(b"a.png", "../ä.png".encode()) + b"first\r\n" + HEAD + b"second" + END
    files = store(body, tmp_path, FORM)
    assert [(name, path.read_bytes()) for name, path in files] == [("../ä.png", b"first"), ("a.png", b"second")]
    assert {path for _, path in files} == set(tmp_path.iterdir())


def test_store_files__writes_a_body(tmp_path):
    ((name, path),) = store(b"content", tmp_path, {})
    assert (name, path.read_bytes()) == ("image", b"content")


@pytest.mark.filterwarnings("error")
def test_store_files__closes_the_files_of_an_invalid_body(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="truncated"):
        store(BODY[:-20], tmp_path / "a", FORM)
    with pytest.raises(TooLargeError, match="more than 1 files"):
        store(BODY, tmp_path / "b", FORM, max_files=1)


@pytest.mark.parametrize(("headers", "read"), [({"content-length": "11"}, 0), ({}, 3), ({"content-length": "x"}, 3)])
def test_limited__stops_at_the_limit(headers, read):
    consumed = []

    async def chunks():
        for number in range(10):
            consumed.append(number)
            yield b"1234"

    async def consume():
        return [chunk async for chunk in limited(headers, chunks(), 10)]

    with pytest.raises(TooLargeError, match="larger than 10 bytes"):
        asyncio.run(consume())
    assert len(consumed) == read
