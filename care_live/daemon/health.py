"""What operators see of a run: /livez, /readyz, /status (JSON), /metrics (Prometheus); orders go by POST."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from care_live.daemon.run_metrics import DaemonStatus
from care_live.daemon.status_request import open_status
from care_live.daemon.status_server import ConnectionLimits, Look, Routes, StatusServer, TakeOrder
from care_live.errors import ConfigError

_ASK_S = 2.0
"""How long what has the address already may take to say what it is."""
_MAX_STATUS_BYTES = 2**20


class _StatusCollector:
    """Every number of the status as a gauge, so that metrics and status can't differ."""

    def __init__(self, status: Callable[[], DaemonStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        for field in fields(DaemonStatus):
            value = getattr(status, field.name)
            if isinstance(value, int | float):
                yield GaugeMetricFamily(f"care_live_{field.name}", field.name.replace("_", " "), value=value)
        yield _labelled("dropped_planes", "planes that came but have no place", "reason", status.dropped_planes)
        yield from _by_network(status)
        yield _labelled("faults", "failures that the acquisition goes on without", "room", status.faults)


def _labelled(name: str, about: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"care_live_{name}", about, labels=[label])
    for which, n in values.items():
        family.add_metric([which], n)
    return family


def _by_network(status: DaemonStatus) -> Iterator[Metric]:
    """Give the figures of each of several networks, by its name and channels."""
    figures = {"restored": "volumes restored", "held_mib": "memory that the network keeps between volumes, MiB"}
    for figure, about in figures.items() if status.networks else ():
        family = GaugeMetricFamily(f"care_live_network_{figure}", about, labels=["network", "channels"])
        for network in status.networks:
            family.add_metric([network["network"], ",".join(network["channels"])], network[figure])
        yield family


class Health:
    """Serves the status from threads of its own.

    Parameters
    ----------
    bind : ``host:port``; port 0 takes a free one
    status : gives the newest status
    ready : whether volumes can be restored now
    orders : what a client may order by POST, by path
    limits : what clients may hold
    """

    def __init__(
        self,
        bind: str,
        status: Callable[[], DaemonStatus],
        ready: Callable[[], bool],
        orders: Mapping[str, TakeOrder] | None = None,
        *,
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 - frozen
    ) -> None:
        registry = CollectorRegistry()
        registry.register(_StatusCollector(status))
        looks: dict[str, Look] = {
            "/livez": lambda: (200, "text/plain", b"alive\n"),
            "/readyz": lambda: (200, "text/plain", b"ready\n") if ready() else (503, "text/plain", b"not ready\n"),
            "/status": lambda: (200, "application/json", json.dumps(status().as_json()).encode()),
            "/metrics": lambda: (200, "text/plain; version=0.0.4", generate_latest(registry)),
        }
        self._server = _bound(bind, Routes(looks, orders or {}), limits)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="care-live health")

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, within seconds, also while clients hold connections."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join(5.0)
        self._server.server_close()


def _bound(bind: str, routes: Routes, limits: ConnectionLimits) -> StatusServer:
    host, _, port = bind.rpartition(":")
    try:
        return StatusServer((host, int(port)), routes, limits)
    except (OSError, ValueError, OverflowError) as error:
        if there := _daemon_at(bind) if isinstance(error, OSError) else "":
            raise ConfigError(there) from error
        raise ConfigError(
            f"status address {bind} cannot be used ({error}); set daemon.status_bind to a free host:port"
        ) from error


def _daemon_at(bind: str) -> str:
    """Return what to do about a daemon that has a status address already; empty: no daemon answers there."""
    host, _, port = bind.rpartition(":")
    address = f"{'127.0.0.1' if host in ('', '0.0.0.0') else host}:{port}"
    try:
        with open_status(f"http://{address}/status", _ASK_S) as answer:
            status = json.loads(answer.read(_MAX_STATUS_BYTES))
        run_id, phase = str(status["run_id"]), str(status["phase"])
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return ""
    return (
        f"a care_live daemon has the status address {bind} already: run {run_id or '(no name yet)'}, {phase}. End it "
        f"first (Ctrl-C, or SIGTERM; see care-live status --address {address}), or let this one run beside it with "
        "addresses of its own: daemon.status_bind, publish.bind and publish.bind_pull"
    )
