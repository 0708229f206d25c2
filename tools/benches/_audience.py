"""The audience of the watchers bench: each watcher in a process of its own, telling at the end what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import time
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event, Semaphore
from typing import Any, Literal

import httpx
import websockets

from care_live.publish import Delivery, Subscriber
from care_live.wire.messages import End

POLITE = 10
"""Watchers sit on other machines; here they share the processors, so they step back."""


SILENT_S = 60.0
"""A daemon that sends nothing for this long has ended."""


@dataclass
class Seen:
    """What one watcher saw."""

    role: str
    times: list[int] = field(default_factory=list)
    """Time points, as they came."""
    ages_s: list[float] = field(default_factory=list)
    """From the last plane to the arrival."""
    arrived_us: list[int] = field(default_factory=list)
    published_us: list[int] = field(default_factory=list)
    nbytes: int = 0
    n_lost: int = 0
    began_s: float = 0.0


@dataclass(frozen=True)
class Viewer:
    """A subscriber to be."""

    role: str
    mode: Literal["newest", "every"] = "newest"
    work_s: float = 0.0
    """What it does with each volume."""


@dataclass(frozen=True)
class Hall:
    """Where watchers and the bench meet: importing is done before the run begins."""

    report: Queue[Seen]
    seated: Semaphore
    """Released by everyone who is ready."""
    late: Event
    """Set when the latecomer may come."""


def subscribe(hall: Hall, viewer: Viewer, address: str) -> None:
    """Take volumes until the run ends."""
    step_back()
    hall.seated.release()
    if viewer.role == "late":
        hall.late.wait()
    seen = Seen(viewer.role, began_s=time.time())
    with Subscriber(address, mode=viewer.mode) as subscriber:
        while not isinstance(came := subscriber.next(SILENT_S), End | None):
            if isinstance(came, Delivery) and came.is_whole:
                _note(seen, came)
                time.sleep(viewer.work_s)
        seen.n_lost = subscriber.n_lost
    hall.report.put(seen)


def _note(seen: Seen, volume: Delivery) -> None:
    seen.times.append(volume.key.t)
    seen.ages_s.append(volume.age_s)
    seen.arrived_us.append(time.time_ns() // 1000)
    seen.published_us.append(volume.header.published_us)
    seen.nbytes += sum(header.nbytes for header in volume.header.arrays)


def browse(hall: Hall, url: str, n_browsers: int) -> None:
    """Be many browsers: WebSockets that take every picture, decode its header and ask for the next."""
    step_back()
    hall.seated.release()
    hall.report.put(asyncio.run(_browse_all(url, n_browsers)))


async def _browse_all(url: str, n_browsers: int) -> Seen:
    origin = url.partition("/?token=")[0]
    page = httpx.get(url)  # gives the cookie that opens the rest
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    seen = Seen("browsers", began_s=time.time())
    async with asyncio.TaskGroup() as browsers:
        for _ in range(n_browsers):
            browsers.create_task(_browse(origin, cookie, seen))
    return seen


async def _browse(origin: str, cookie: str, seen: Seen) -> None:
    """Take pictures until the gateway closes the link."""
    live, home = origin.replace("http://", "ws://") + "/live", websockets.Origin(origin)
    async with websockets.connect(live, origin=home, additional_headers={"Cookie": cookie}, max_size=None) as link:
        with contextlib.suppress(websockets.ConnectionClosed):
            await link.send('{"op":"credit","n":2}')
            async for message in link:
                if isinstance(message, bytes):
                    seen.times.append(header_of(message)["t"])
                    seen.arrived_us.append(time.time_ns() // 1000)
                    seen.nbytes += len(message)
                    await link.send('{"op":"credit","n":1}')


def header_of(message: bytes) -> dict[str, Any]:
    """Read a picture's header, as the page does."""
    (length,) = struct.unpack_from("<I", message)
    header: dict[str, Any] = json.loads(message[4 : 4 + length])
    return header


def step_back() -> None:
    if hasattr(os, "nice"):
        os.nice(POLITE)
