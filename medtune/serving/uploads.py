"""Files of a multipart/form-data request, parsed by Starlette and python-multipart."""

from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser


class TooManyFilesError(ValueError):
    """A request contains more files than allowed."""


class _StrictParser(MultiPartParser):
    """Parser that detects truncated bodies and stores files in memory, as a container may have no writable folder."""

    spool_max_size = 0  # never write to a temporary file; the request has a maximum size
    is_complete = False

    def on_end(self) -> None:
        self.is_complete = True


async def read_files(headers: Headers, body: AsyncGenerator[bytes, None], max_files: int) -> list[tuple[str, bytes]]:
    """Read the files of a request. Fields without a file name are ignored.

    Args:
        headers: headers of the request, with the boundary in Content-Type.
        body: chunks of the body.
        max_files: maximum number of files.

    Returns:
        File name and bytes per file, in order.

    Raises:
        TooManyFilesError: there are more than `max_files` files.
        ValueError: the boundary is missing, or the body is invalid, truncated or contains no file.
    """
    parser = _StrictParser(headers, body, max_files=max_files, max_fields=max_files)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise TooManyFilesError(f"the request has more than {max_files} files") from error
        raise ValueError(f"invalid multipart body: {error.message}") from error
    uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    files = [(upload.filename or "", await upload.read()) for upload in uploads]
    await form.close()
    if not parser.is_complete:
        raise ValueError("the multipart body is truncated: the final boundary is missing")
    if not files:
        raise ValueError("no file in the multipart body")
    return files
