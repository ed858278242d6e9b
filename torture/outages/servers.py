"""Servers that fail: each on a free port of this machine, in one way."""

import contextlib
import socket
import threading
from collections.abc import Iterator


def _answer(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


ANSWERS = {
    "401": _answer("401 Unauthorized", '{"errors": [{"message": "user is not logged in"}]}'),
    "500": _answer("500 Internal Server Error", ""),
    "503": _answer("503 Service Unavailable", ""),
    "another program": _answer("200 OK", "<html></html>"),
}
KINDS = ("refuses", "hangs up", "stalls", "stalls in an answer", *ANSWERS)


@contextlib.contextmanager
def failing(kind: str) -> Iterator[str]:
    """The address of a server that fails as one of `KINDS` says."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    if kind == "refuses":
        listening.close()
        yield address
        return
    held: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if kind == "stalls":
                held.append(client)
                return
            if kind != "hangs up":
                client.recv(65536)
            if kind == "stalls in an answer":
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                held.append(client)
                return
            client.sendall(ANSWERS.get(kind, b""))
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield address
    finally:
        listening.close()
        for client in held:
            client.close()
