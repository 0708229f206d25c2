"""The view for a terminal: what the daemon does, what came, and what the system and this viewer skipped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from care_live.images import LIMITS
from care_live.publish.delivery import Delivery
from care_live.publish.subscriber import AWAY_S, Subscriber
from care_live.reasons import described
from care_live.verdict import Trust
from care_live.wire.keys import ClientKeys
from care_live.wire.messages import ONE_VOXEL
from care_live.wire.printable import printable

Fact: TypeAlias = str | int | float | bool | list[str] | dict[str, int] | None


@dataclass(slots=True)
class TerminalView:
    """What this viewer knows about a daemon."""

    subscriber: Subscriber
    newest: Delivery | None = None
    arrivals: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=20))
    """When the newest volumes came, and their counts: the rate at which the daemon publishes."""
    seen_s: float = 0.0

    def take(self, timeout_s: float, clock_s: Callable[[], float] = time.monotonic) -> bool:
        """Wait for the next message; False when none came."""
        message = self.subscriber.next(timeout_s)
        if isinstance(message, Delivery) and message.is_whole:
            self.newest, self.seen_s = message, clock_s()
            if message.header.nth is not None:
                self.arrivals.append((self.seen_s, message.header.nth))
        return message is not None

    def facts(self, now_s: float) -> dict[str, Fact]:
        """Return everything that the view shows, by name and with units; what is not known is None."""
        return self._of_daemon() | self._of_newest(now_s) | self._of_losses()

    def _of_daemon(self) -> dict[str, Fact]:
        heartbeat, run = self.subscriber.heartbeat, self.subscriber.run
        status = heartbeat.status if heartbeat else None
        model = heartbeat.model if heartbeat else None
        return {
            "address": self.subscriber.address,
            "connected": self.subscriber.silent_s < AWAY_S,
            "run": heartbeat.run if heartbeat else None,
            "channels": list(run.plan.channels) if run else None,
            "model": model.name if model else None,
            "model_sha256": model.sha256 if model else None,
            "limits": heartbeat.limits if heartbeat else LIMITS,
            "planes_per_s": status.planes_per_s if status else None,
            "volumes_per_s": _rounded(self._rate() or (status.volumes_per_s if status else None)),
            "queue_depths": dict(status.queue_depths) if status else None,
            "disk_s_left": status.disk_s_left if status else None,
            "workers": list(status.workers or ()) if status else None,
            "watchers": heartbeat.n_watchers if heartbeat else None,
            "note": status.note if status else None,
        }

    def _of_newest(self, now_s: float) -> dict[str, Fact]:
        newest = self.newest
        return {
            "t": newest.key.t if newest else None,
            "position": newest.key.p if newest else None,
            "channel": newest.key.c if newest else None,
            "age_s": _rounded(newest.age_s + now_s - self.seen_s) if newest else None,
            "latency_s": _rounded(newest.age_s) if newest else None,
            "infer_s": _rounded(newest.header.infer_us / 1e6) if newest else None,
            "state": newest.state if newest else None,
            "flags": sorted(newest.flags) if newest else None,
            "trust": newest.trust.colour if newest and newest.trust else None,
            "trust_reasons": list(newest.trust.reasons) if newest and newest.trust else None,
            "streaming": described(newest.choice) if newest else None,
            "measured": _measured(newest.trust) if newest else None,
            "planes": f"{len(newest.header.received)}/{len(newest.header.expected)}" if newest else None,
        }

    def _of_losses(self) -> dict[str, Fact]:
        status = self.subscriber.heartbeat.status if self.subscriber.heartbeat else None
        return {
            "received_here": self.subscriber.n_received,
            "skipped_here": self.subscriber.n_skipped,
            "skipped_by_system": status.volumes_skipped if status else None,
            "refused_by_system": status.volumes_refused if status else None,
            "planes_lost": status.planes_lost if status else None,
            "planes_dropped": status.planes_dropped if status else None,
            "restored": status.volumes_restored if status else None,
        }

    def _rate(self) -> float | None:
        if len(self.arrivals) < 2 or self.arrivals[-1][0] <= self.arrivals[0][0]:
            return None
        (first_s, first), (last_s, last) = self.arrivals[0], self.arrivals[-1]
        return (last - first) / (last_s - first_s)


def page(facts: dict[str, Fact]) -> RenderableType:
    """Return the facts as they stand on the screen; names and notes come from another machine, so none is markup."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", justify="right")
    table.add_column()
    for name, text in _rows(facts):
        table.add_row(name, Text(printable(text)))
    title = f"care_live {facts['address']}" + ("" if facts["connected"] else " — no daemon answers")
    style = "green" if facts["connected"] else "red"
    limits = Text(printable(str(facts["limits"])), style="yellow")
    return Panel(table, title=Text(printable(title)), subtitle=limits, border_style=style)


def _measured(trust: Trust | None) -> str | None:
    """Return the error that reference planes showed, in words."""
    if trust is None or trust.measured is None:
        return None if trust is None else trust.unmeasured or None
    measured = trust.measured
    held = "" if measured.coverage is None else f", 90 % intervals held {measured.coverage:.0%}"
    light = f"references cost {measured.dose:.1%} more light"
    return "; ".join(
        part for part in (f"PSNR {measured.psnr_db:.1f} dB at t={measured.t}{held}", light, trust.unmeasured) if part
    )


def _rows(facts: dict[str, Fact]) -> list[tuple[str, str]]:
    flags = facts["flags"]
    queues, reasons, workers = facts["queue_depths"], facts["trust_reasons"], facts["workers"]
    return [
        ("run", _text(facts["run"])),
        ("model", f"{_text(facts['model'])}  {str(facts['model_sha256'] or '')[:12]}"),
        ("newest", f"t={_text(facts['t'])} position={_text(facts['position'])} channel={_text(facts['channel'])}"),
        ("state", f"{_text(facts['state'])}  {', '.join(flags) if isinstance(flags, list) else ''}"),
        ("trust", "  ".join([_text(facts["trust"]), *(reasons if isinstance(reasons, list) else [])])),
        ("measured", _text(facts["measured"])),
        ("planes", f"{_text(facts['planes'])}  {facts['streaming'] or ''}"),
        ("age", f"{_text(facts['age_s'], 's')} (came {_text(facts['latency_s'], 's')} after its last plane)"),
        ("rates", f"{_text(facts['planes_per_s'], 'planes/s')}  {_text(facts['volumes_per_s'], 'volumes/s')}"),
        (
            "skipped",
            f"{_text(facts['skipped_by_system'])} by the system  {_text(facts['skipped_here'])} by this viewer",
        ),
        ("refused", f"{_text(facts['refused_by_system'])} volumes for want of memory"),
        (
            "lost",
            f"{_text(facts['planes_lost'])} planes never came  {_text(facts['planes_dropped'])} planes had no place",
        ),
        ("queues", "  ".join(f"{k} {v}" for k, v in queues.items()) if isinstance(queues, dict) else "-"),
        *[("worker", str(worker)) for worker in (workers if isinstance(workers, list) else ())],
        ("disk", _time_left(facts["disk_s_left"])),
        ("watchers", _text(facts["watchers"])),
        *([("note", str(facts["note"]))] if facts["note"] else []),
    ]


def watch(address: str, *, keys: ClientKeys | None = None, console: Console | None = None) -> None:
    """Show a daemon until interrupted.

    Raises
    ------
    ProtocolError
        The daemon has another protocol, or refuses this viewer.
    """
    with Subscriber(address, view=ONE_VOXEL, keys=keys) as subscriber:
        watching = TerminalView(subscriber)
        with Live(page(watching.facts(time.monotonic())), console=console, auto_refresh=False) as screen:
            while True:
                watching.take(0.5)
                screen.update(page(watching.facts(time.monotonic())), refresh=True)


def look_once(address: str, *, keys: ClientKeys | None = None, timeout_s: float = 4.0) -> dict[str, Fact]:
    """Return the facts once: as soon as a heartbeat and a volume came, or when the time is over."""
    deadline = time.monotonic() + timeout_s
    with Subscriber(address, view=ONE_VOXEL, keys=keys) as subscriber:
        watching = TerminalView(subscriber)
        while (left := deadline - time.monotonic()) > 0:
            watching.take(left)
            if subscriber.heartbeat is not None and (watching.newest or subscriber.heartbeat.newest is None):
                break
        return watching.facts(time.monotonic())


def _text(fact: Fact, unit: str = "") -> str:
    if fact is None:
        return "-"
    text = f"{fact:.3g}" if isinstance(fact, float) else str(fact)
    return f"{text} {unit}".strip()


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _time_left(seconds: Fact) -> str:
    if not isinstance(seconds, int | float):
        return "-"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes:02d} min left" if hours < 1000 else "weeks left"
