"""Parser for multipart/form-data (RFC 7578) with the standard library only.

FastAPI's parser needs a further package (python-multipart), which the slim image does not contain.
"""

from email.message import Message
from email.parser import BytesHeaderParser

# Parts can be tiny: without these limits, parsing a single request could take minutes.
MAX_PARTS = 1000
MAX_HEAD = 16 * 1024


def read_parts(content_type: str, body: bytes, max_parts: int = MAX_PARTS) -> list[tuple[str, bytes]]:
    """Extract the files from a request body. Fields without a file name are ignored.

    Args:
        content_type: Content-Type of the request, which contains the boundary.
        body: the complete request body.
        max_parts: maximum number of parts (files and fields).

    Returns:
        File name and bytes of each file, in order.

    Raises:
        ValueError: the boundary is missing, the body is truncated or contains no file, there are more than
            `max_parts` parts, or the header of a part is larger than `MAX_HEAD` bytes.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise ValueError("multipart without a boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(delimiter, max_parts + 2)
    if len(pieces) > max_parts + 2:  # the text before the first part, the parts, and the end
        raise ValueError(f"more than {max_parts} parts in the multipart body")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the multipart body is not closed by its boundary")
    files = []
    for piece in pieces[1:-1]:
        head, blank, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD:
            raise ValueError(f"the header of a part is larger than {MAX_HEAD:,} bytes")
        name = BytesHeaderParser().parsebytes(head).get_filename()
        if blank and name is not None:
            files.append((name, content))
    if not files:
        raise ValueError("no file in the multipart body")
    return files
