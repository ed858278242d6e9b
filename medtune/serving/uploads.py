"""Files of a request, in memory or in a folder. python-multipart parses multipart/form-data."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from medtune.serving.request_errors import RequestError, TooLargeError

BODY_NAME = "image"  # name of a file that is the body of a request
File = TypeVar("File")


async def limited(headers: Mapping[str, str], body: AsyncIterable[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the chunks of a body that has at most `max_bytes` bytes.

    Args:
        headers: headers of the request. If they state the size, a body that is too large is refused unread.
        body: chunks of the body.
        max_bytes: maximum number of bytes.

    Yields:
        The chunks.

    Raises:
        TooLargeError: the body is larger.
    """
    size, stated = 0, headers.get("content-length", "")
    problem = f"the request is larger than {max_bytes:,} bytes"
    if stated.isdecimal() and int(stated) > max_bytes:
        raise TooLargeError(problem)
    async for chunk in body:
        size += len(chunk)
        if size > max_bytes:
            raise TooLargeError(problem)
        yield chunk


async def read_files(headers: Mapping[str, str], body: AsyncIterable[bytes], max_files: int) -> list[tuple[str, bytes]]:
    """Read the files of a request into memory. Fields of a form without a file name are ignored.

    Args:
        headers: headers of the request, with the boundary of a form in Content-Type.
        body: chunks of the body: one file, or a form.
        max_files: maximum number of files.

    Returns:
        File name and bytes per file, in order.

    Raises:
        TooLargeError: there are more than `max_files` files.
        RequestError: the boundary is missing, or the form is invalid, truncated or contains no file.
    """
    if not _is_form(headers):
        content = BytesIO()
        async for chunk in body:
            content.write(chunk)
        return [(BODY_NAME, content.getvalue())]
    form = _Form(headers, max_files, BytesIO, BytesIO.getvalue)
    async for chunk in body:
        form.write(chunk)
    return form.finish()


async def store_files(
    headers: Mapping[str, str], body: AsyncIterable[bytes], max_files: int, folder: Path
) -> list[tuple[str, Path]]:
    """Write the files of a request into a folder. Only one chunk of the request is in memory at a time.

    Args:
        headers: see `read_files`.
        body: see `read_files`.
        max_files: see `read_files`.
        folder: an existing folder. The names of the files in it do not depend on the request.

    Returns:
        File name in the request and path per file, in order.

    Raises:
        OSError: a file cannot be written.
        TooLargeError: see `read_files`.
        RequestError: see `read_files`.
    """
    numbers = count()

    def create() -> BinaryIO:
        return (folder / f"upload{next(numbers)}").open("xb")

    if not _is_form(headers):
        with create() as stream:
            async for chunk in body:
                await run_in_threadpool(stream.write, chunk)
            return [(BODY_NAME, _close(stream))]
    form = _Form(headers, max_files, create, _close)
    try:
        async for chunk in body:
            await run_in_threadpool(form.write, chunk)
        return form.finish()
    finally:
        form.close()


def _close(stream: BinaryIO) -> Path:
    stream.close()
    return Path(stream.name)


def _is_form(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/")


class _Form(Generic[File]):
    """Parser of a form that writes each file to its own stream.

    Args:
        headers: headers of the request.
        max_files: maximum number of files, and of fields without a file name.
        create: opens the stream for a file.
        finish: converts the stream of a complete file to its result.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        max_files: int,
        create: Callable[[], BinaryIO],
        finish: Callable[..., File],
    ) -> None:
        _, options = parse_options_header(headers.get("content-type"))
        if not options.get(b"boundary"):
            raise RequestError("invalid multipart body: the boundary is missing in Content-Type")
        self._max_files, self._create, self._finish = max_files, create, finish
        self._files: list[tuple[str, File]] = []
        self._n_files = self._n_fields = 0
        self._header = b""  # name of the current header
        self._value = self._disposition = b""
        self._stream: BinaryIO | None = None  # of the current file; None for a field
        self._name, self._is_complete = "", False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._write_part,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise RequestError("invalid multipart body: the boundary is too long") from None

    def write(self, chunk: bytes) -> None:
        """Parse the next chunk of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise RequestError("invalid multipart body: it does not follow RFC 7578") from None

    def finish(self) -> list[tuple[str, File]]:
        """Return name and result of each file, after the whole body was written."""
        if not self._is_complete:
            raise RequestError("the multipart body is truncated: the final boundary is missing")
        if not self._files:
            raise RequestError("no file in the multipart body")
        return self._files

    def close(self) -> None:
        """Close the stream of a file that is not complete."""
        if self._stream is not None:
            self._stream.close()

    def _begin_part(self) -> None:
        self._header = self._value = self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _open_part(self) -> None:
        # A server reads header bytes as Latin-1 text.
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        if b"name" not in options:
            raise RequestError('invalid multipart body: a part has no "name" in its Content-Disposition')
        if b"filename" not in options:
            self._n_fields += 1
            if self._n_fields > self._max_files:
                raise RequestError(f"invalid multipart body: it has more than {self._max_files:,} fields")
            return
        self._n_files += 1
        if self._n_files > self._max_files:
            raise TooLargeError(f"the request has more than {self._max_files:,} files")
        self._name = options[b"filename"].decode("utf-8", "replace")
        self._stream = self._create()

    def _write_part(self, data: bytes, start: int, end: int) -> None:
        if self._stream is not None:
            self._stream.write(data[start:end])

    def _end_part(self) -> None:
        if self._stream is not None:
            self._files.append((self._name, self._finish(self._stream)))
            self._stream = None

    def _end(self) -> None:
        self._is_complete = True
