"""HTTP servers that fail."""

import contextlib
import socket
import threading
from collections.abc import Iterator


def _response(status: str, body: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


# Complete responses, after which the server closes the connection.
RESPONSES = {
    "disconnects": b"",
    "401": _response("401 Unauthorized", '{"errors": [{"message": "user is not logged in"}]}'),
    "500": _response("500 Internal Server Error"),
    "503": _response("503 Service Unavailable"),
    "another program": _response("200 OK", "<html></html>"),
}
# Responses that never end.
STALLED = {"stalls": b"", "stalls in a response": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"}
KINDS = ("refuses", *RESPONSES, *STALLED)


@contextlib.contextmanager
def failing_server(kind: str) -> Iterator[str]:
    """Start a server that fails in one of the ways of `KINDS`, and yield its URL."""
    clients: list[socket.socket] = []

    def respond(client: socket.socket) -> None:
        clients.append(client)
        with contextlib.suppress(OSError):
            if kind not in ("disconnects", "stalls"):
                client.recv(65536)
            client.sendall((RESPONSES | STALLED)[kind])
            if kind in RESPONSES:
                client.close()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=respond, args=listening.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if kind == "refuses":
            listening.close()
        else:
            threading.Thread(target=serve, daemon=True).start()
        yield url
    for client in clients:
        client.close()
