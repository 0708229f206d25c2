"""HTTP for operators: /livez, /readyz, /status (JSON), /metrics (Prometheus), and orders by POST.

Loopback by default. Orders are taken from this machine alone, and only as JSON: a web page of another origin
cannot send that without asking first, and is never answered.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from care_live.daemon.tally import Status
from care_live.errors import CareLiveError, ConfigError

Answer: TypeAlias = tuple[int, str, bytes]
"""Status code, content type, body."""
Look: TypeAlias = Callable[[], Answer]
Order: TypeAlias = Callable[[Mapping[str, Any]], str]
"""Takes the order's JSON, says what happens; its errors are answered."""

_MAX_ORDER_BYTES = 64 * 1024


class _StatusCollector:
    """Every number of the status as a gauge, so that the metrics can't tell another story."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        for field in fields(Status):
            value = getattr(status, field.name)
            if isinstance(value, int | float):
                yield GaugeMetricFamily(f"care_live_{field.name}", field.name.replace("_", " "), value=value)
        dropped = GaugeMetricFamily("care_live_dropped_planes", "planes that came but have no place", labels=["reason"])
        for reason, n in status.dropped_planes.items():
            dropped.add_metric([reason], n)
        yield dropped


class Health:
    """Serves the status from a thread of its own.

    Parameters
    ----------
    bind : ``host:port``; port 0 takes a free one
    status : gives the newest status
    ready : whether volumes can be restored now
    orders : what may be asked by POST, by path
    """

    def __init__(
        self,
        bind: str,
        status: Callable[[], Status],
        ready: Callable[[], bool],
        orders: Mapping[str, Order] | None = None,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(_StatusCollector(status))
        looks: dict[str, Look] = {
            "/livez": lambda: (200, "text/plain", b"alive\n"),
            "/readyz": lambda: (200, "text/plain", b"ready\n") if ready() else (503, "text/plain", b"not ready\n"),
            "/status": lambda: (200, "application/json", json.dumps(status().as_json()).encode()),
            "/metrics": lambda: (200, "text/plain; version=0.0.4", generate_latest(registry)),
        }
        self._server = _bound(bind, partial(_Handler, looks, orders or {}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="care-live health")

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; returns within a second."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join(5.0)
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, looks: Mapping[str, Look], orders: Mapping[str, Order], *connection: Any) -> None:
        self._looks, self._orders = looks, orders
        super().__init__(*connection)

    def do_GET(self) -> None:
        look = self._looks.get(self.path.partition("?")[0])
        self._answer(*(look() if look else (404, "text/plain", "\n".join(self._looks).encode())))

    def do_POST(self) -> None:
        order = self._orders.get(self.path)
        if order is None or not ip_address(self.client_address[0]).is_loopback:
            self._answer(403, "text/plain", b"not allowed\n")
        elif self.headers.get_content_type() != "application/json":
            self._answer(415, "text/plain", b"wanted application/json\n")
        else:
            self._answer(*self._obey(order))

    def _obey(self, order: Order) -> Answer:
        try:
            length = min(int(self.headers.get("Content-Length", "0")), _MAX_ORDER_BYTES)
            wanted = json.loads(self.rfile.read(length) or b"{}")
            if not isinstance(wanted, dict):
                raise ConfigError("wanted a JSON object")
            return 200, "text/plain", order(wanted).encode()
        except (CareLiveError, ValueError, RecursionError) as error:
            return 400, "text/plain", str(error).encode()

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep quiet: a probe a second would drown one line a volume."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = os.name == "posix"  # a restart must not wait for old connections; elsewhere it would share


def _bound(bind: str, handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    host, _, port = bind.rpartition(":")
    try:
        return _Server((host, int(port)), handler)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"status address {bind} cannot be used ({error}); set daemon.status_bind to a free host:port"
        ) from error
