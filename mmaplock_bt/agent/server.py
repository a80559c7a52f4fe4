"""Answers GETs on one address: few at once, each of bounded size and time."""

import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from mmaplock_bt.errors import UsageError

HEAD_BYTES = 16 << 10  # request line and header lines together
PATIENCE_S = 3.0  # for a request to come, and for its answer to be taken
AT_ONCE = 4


@dataclass(frozen=True)
class Answer:
    """What a path is answered with."""

    text: bytes
    kind: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


Pages = Mapping[str, Callable[[str], Answer]]  # by path; given is the header Accept


class Server:
    """A context manager that answers while it is entered. Raises UsageError for an address."""

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        try:
            self._server = _Bound(host, port, pages)
        except OSError as error:
            where = f"[{host}]" if ":" in host else host
            raise UsageError(
                f"cannot listen on {where}:{port}: {error.strerror}; give another address or port "
                "by --listen"
            ) from error

    @property
    def url(self) -> str:
        """Returns where it listens; the port that was found where 0 was asked for."""
        host, port = self._server.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Bound(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = pages
        self._places = threading.BoundedSemaphore(AT_ONCE)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Whoever comes when all places are taken waits in the kernel's queue."""
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever went away, or was too slow, is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request for each connection."""

    server: _Bound
    server_version = "mmaplock-bt"
    sys_version = ""

    def setup(self) -> None:
        """Reads the request's head, all of it within PATIENCE_S; a body is not read."""
        self.connection = self.request
        self.rfile = io.BufferedReader(io.BytesIO(_head(self.connection)))
        self.connection.settimeout(PATIENCE_S)
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            known = " ".join(self.server.pages)
            self._send(Answer(f"there is {known}\n".encode(), status=HTTPStatus.NOT_FOUND))
            return
        try:
            answer = page(", ".join(self.headers.get_all("Accept", [])))
        except Exception as error:  # a fault of ours: whoever asks is told, and asks again
            said = f"a fault of mmaplock-bt itself ({type(error).__name__})\n"
            answer = Answer(said.encode(), status=HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.text)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(answer.text)

    def log_message(self, *_: object) -> None:
        """A scrape is no news."""


def _head(connection: socket.socket) -> bytes:
    """Raises OSError where it takes too long, or is too long."""
    deadline, found = time.monotonic() + PATIENCE_S, b""
    while b"\r\n\r\n" not in found and b"\n\n" not in found:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(HEAD_BYTES + 1 - len(found))
        if not piece or len(found) + len(piece) > HEAD_BYTES:
            raise OSError("no request")
        found += piece
        if time.monotonic() > deadline:
            raise OSError("too slow")
    return found
