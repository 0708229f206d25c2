"""HTTP for operators. Each client has a budget, so that none keeps another, or the daemon, waiting.

======================  ============================  ==========================================
what                    at most                       beyond it
======================  ============================  ==========================================
connections             16                            the oldest one is closed
a connection's life     10 s, 5 s without a byte      it is closed
requests a connection   1                             it is closed after the answer
a request, with body    128 KiB                       it is cut there, and so answered with 4xx
an order's body         64 KiB, its length announced  413; 411 where it is not announced
======================  ============================  ==========================================

A page of another origin, in a browser on this machine, can neither read nor order anything: it can't set Host to an
address (or send no Origin), and a name of its own that resolves to this machine is not answered.
"""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, TypeAlias

from care_live.errors import CareLiveError, ConfigError
from care_live.wire.address import is_loopback_host

logger = logging.getLogger(__name__)

HttpAnswer: TypeAlias = tuple[int, str, bytes]
"""Status code, content type, body."""
Look: TypeAlias = Callable[[], HttpAnswer]
TakeOrder: TypeAlias = Callable[[Mapping[str, Any]], str]
"""Takes the JSON of an order and returns the answer; its errors are answered, too."""

MAX_REQUEST_BYTES = 128 * 1024
MAX_ORDER_BYTES = 64 * 1024
_JOIN_S = 5.0
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What clients may hold."""

    connections: int = 16
    life_s: float = 10.0
    silence_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Routes:
    """What is answered, by path."""

    looks: Mapping[str, Look]
    orders: Mapping[str, TakeOrder]


class StatusServer(ThreadingHTTPServer):
    """A thread a connection, and not more than the limits allow.

    Parameters
    ----------
    address : host and port; port 0 takes a free one
    routes : what is answered
    limits : what clients may hold
    """

    daemon_threads = False
    request_queue_size = 64
    block_on_close = False  # `server_close` waits itself, and not for ever
    allow_reuse_address = os.name == "posix"  # a restart must not wait for old connections; elsewhere it would share

    def __init__(self, address: tuple[str, int], routes: Routes, limits: ConnectionLimits) -> None:
        self.routes, self.limits = routes, limits
        self._open: dict[socket.socket, float] = {}  # oldest first; when its time is over
        self._threads_at_work: set[threading.Thread] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_PAUSE_S)  # the process has no file handle left: this thread must not use up a processor
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            while len(self._open) >= self.limits.connections:
                _hang_up(self._pop_oldest())
            self._open[request] = time.monotonic() + self.limits.life_s
        thread = threading.Thread(target=self._serve, args=(request, client_address), name="care-live status request")
        self._threads_at_work.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._threads_at_work.discard(thread)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections whose time is over; called about ten times a second."""
        with self._guard:
            for request in [one for one, until_s in self._open.items() if time.monotonic() > until_s]:
                del self._open[request]
                _hang_up(request)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log one line about a client that left or was disconnected."""
        logger.debug("status request failed from=%s", client_address, exc_info=True)

    def server_close(self) -> None:
        super().server_close()
        with self._guard:
            while self._open:
                _hang_up(self._pop_oldest())
        until_s = time.monotonic() + _JOIN_S
        for thread in list(self._threads_at_work):
            thread.join(max(0.0, until_s - time.monotonic()))

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._threads_at_work.discard(threading.current_thread())

    def _pop_oldest(self) -> socket.socket:
        oldest = next(iter(self._open))
        del self._open[oldest]
        return oldest


class _Handler(BaseHTTPRequestHandler):
    server: StatusServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.limits.silence_s)
        self.rfile.close()
        raw = self.connection.makefile("rb", buffering=0)
        self.rfile = io.BufferedReader(_Bounded(raw, MAX_REQUEST_BYTES))

    def version_string(self) -> str:
        return "care_live"

    def do_GET(self) -> None:
        look = self.server.routes.looks.get(self.path.partition("?")[0])
        if refused := foreign(self.headers, self._own_name):
            self._answer(403, "text/plain", refused.encode())
        elif look is None:
            self._answer(404, "text/plain", "\n".join(self.server.routes.looks).encode())
        else:
            self._answer(*look())

    def do_POST(self) -> None:
        order = self.server.routes.orders.get(self.path)
        if refused := foreign(self.headers, self._own_name):
            self._answer(403, "text/plain", refused.encode())
        elif order is None or not is_loopback_host(self.client_address[0]):
            self._answer(403, "text/plain", b"not allowed\n")
        elif self.headers.get_content_type() != "application/json":
            self._answer(415, "text/plain", b"wanted application/json\n")
        else:
            self._answer(*self._obey(order))

    @property
    def _own_name(self) -> str:
        return str(self.server.server_address[0])

    def _obey(self, order: TakeOrder) -> HttpAnswer:
        announced = self.headers.get("Content-Length", "")
        if not (announced.isascii() and announced.isdigit()) or "Transfer-Encoding" in self.headers:
            return 411, "text/plain", b"wanted Content-Length, a number\n"
        if len(announced) > len(str(MAX_ORDER_BYTES)) or int(announced) > MAX_ORDER_BYTES:
            return 413, "text/plain", b"wanted at most 64 KiB\n"
        try:
            wanted = json.loads(self.rfile.read(int(announced)) or b"{}")
            if not isinstance(wanted, dict):
                raise ConfigError("wanted a JSON object")
            return 200, "text/plain", order(wanted).encode()
        except (ConfigError, ValueError, RecursionError) as error:
            return 400, "text/plain", str(error).encode()
        except CareLiveError as error:  # a sound order that can't be obeyed now
            return 409, "text/plain", str(error).encode()

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Log nothing: a probe every second would hide the one line of each volume."""


class _Bounded(io.RawIOBase):
    """The first bytes of a stream; then it ends."""

    def __init__(self, raw: Any, n_bytes: int) -> None:
        self._raw, self._left = raw, n_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        n_read: int | None = self._raw.readinto(memoryview(buffer)[: self._left])
        self._left -= n_read or 0
        return n_read

    def close(self) -> None:
        self._raw.close()
        super().close()


def foreign(headers: Message, own_name: str) -> str:
    """Return why a request may come from a page of another origin; empty where it does not.

    Parameters
    ----------
    headers : of the request
    own_name : what the server is bound to
    """
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "pages of other origins are not answered\n"
    host = headers.get("Host", "")
    if not host or _host_name(host) in ("localhost", own_name) or _is_address(_host_name(host)):
        return ""
    return "wanted a Host that is an address, or localhost\n"


def _host_name(host: str) -> str:
    """Return the name or address of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _hang_up(request: socket.socket) -> None:
    """End a connection while its thread uses it; the thread then notices."""
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("status connection was closed already")
