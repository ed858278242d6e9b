"""The files of a multipart/form-data body (RFC 7578), with the standard library: FastAPI's reader is a package more."""

from email.message import Message
from email.parser import BytesHeaderParser

# A part can be seven bytes long, and a header two: without limits one request would be parsed for minutes.
MAX_PARTS = 1000
MAX_HEAD = 16 * 1024


def read_parts(content_type: str, body: bytes, most: int = MAX_PARTS) -> list[tuple[str, bytes]]:
    """File name and bytes of every file in `body`, in order; fields without a file name are left out.

    Args:
        content_type: the request's Content-Type, which names the boundary.
        body: the whole request body.
        most: parts there may be, files and fields.

    Raises:
        ValueError: no boundary, not closed, no file in it, more parts than `most`, or a part's head over `MAX_HEAD`.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise ValueError("multipart without a boundary")
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(mark, most + 2)
    if len(pieces) > most + 2:  # what stands before the first part, the parts, and the end
        raise ValueError(f"more than {most} parts in the multipart body")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the multipart body is not closed by its boundary")
    files = []
    for piece in pieces[1:-1]:
        head, blank, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD:
            raise ValueError(f"a part's head is over {MAX_HEAD:,} bytes")
        name = BytesHeaderParser().parsebytes(head).get_filename()
        if blank and name is not None:
            files.append((name, content))
    if not files:
        raise ValueError("no file in the multipart body")
    return files
