"""The files of a multipart/form-data body (RFC 7578), with the standard library: FastAPI's reader is a package more."""

from email.message import Message
from email.parser import BytesHeaderParser


def read_parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """File name and bytes of every file in `body`, in order; fields without a file name are left out.

    Args:
        content_type: the request's Content-Type, which names the boundary.
        body: the whole request body.

    Raises:
        ValueError: no boundary, not closed, or no file in it.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise ValueError("multipart without a boundary")
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(mark)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the multipart body is not closed by its boundary")
    files = []
    for piece in pieces[1:-1]:
        head, blank, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = BytesHeaderParser().parsebytes(head).get_filename()
        if blank and name is not None:
            files.append((name, content))
    if not files:
        raise ValueError("no file in the multipart body")
    return files
