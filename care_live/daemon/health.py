"""HTTP for operators: /livez, /readyz, /status (JSON) and /metrics (Prometheus); loopback by default."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from care_live.daemon.tally import Status
from care_live.errors import ConfigError


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
    """

    def __init__(self, bind: str, status: Callable[[], Status], ready: Callable[[], bool]) -> None:
        registry = CollectorRegistry()
        registry.register(_StatusCollector(status))
        answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/livez": lambda: (200, "text/plain", b"alive\n"),
            "/readyz": lambda: (200, "text/plain", b"ready\n") if ready() else (503, "text/plain", b"not ready\n"),
            "/status": lambda: (200, "application/json", json.dumps(status().as_json()).encode()),
            "/metrics": lambda: (200, "text/plain; version=0.0.4", generate_latest(registry)),
        }
        self._server = _bound(bind, answers)
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


def _bound(bind: str, answers: dict[str, Callable[[], tuple[int, str, bytes]]]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            code, kind, body = answer() if answer else (404, "text/plain", b"/livez /readyz /status /metrics\n")
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Keep quiet: a probe a second would drown one line a volume."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False
        allow_reuse_address = False

    host, _, port = bind.rpartition(":")
    try:
        return Server((host, int(port)), Handler)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"status address {bind} cannot be used ({error}); set daemon.status_bind to a free host:port"
        ) from error
