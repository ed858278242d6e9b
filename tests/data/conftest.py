"""Local web server that can interrupt downloads or change its content."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest


class Server(ThreadingHTTPServer):
    """Serve `content`. Interrupt the next responses after `interrupted_at` bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.interrupted_at: list[int] = []
        self.etag, self.content, self.ranges = '"v1"', np.random.default_rng(3).bytes(400_000), True
        self.range_headers: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/set.npz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        range_header = self.headers.get("Range")
        self.server.range_headers.append(range_header)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/broken":
            self.send_error(503)
            return
        body, start = self.server.content, 0
        if range_header and self.server.ranges and self.headers.get("If-Range") == self.server.etag:
            start = int(range_header.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        length = self.server.interrupted_at.pop(0) if self.server.interrupted_at else len(body)
        self.wfile.write(body[start : start + length])

    def log_message(self, *arguments):
        return


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
