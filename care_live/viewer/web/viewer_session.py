"""One browser: its view, how many pictures it may receive, what it has skipped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from care_live.errors import StoreError
from care_live.viewer.trust_line import TrustSpan
from care_live.viewer.volume_index import ShownChannels, VolumeIndex
from care_live.viewer.web import cuts, picture
from care_live.viewer.web.budget import LONGEST_WAIT_S
from care_live.viewer.web.fineness import Fineness, FrameTime, Pace
from care_live.viewer.web.requests import CREDIT, Credit, PagePing, PageRequest, PageView, Probe
from care_live.wire.token_bucket import TokenBucket

REQUESTS, REQUESTS_PER_S = 200, 100
"""Of one browser: at once, and each second."""
Send = Callable[[bytes | str], Awaitable[None]]

_SETTLED_S = 1.5
"""A coarse picture that is on the screen for this long is sent again with exact pixels."""


@dataclass(eq=False)
class ViewerSession:
    """Answers one browser, at its own pace: it always gets the newest, never a backlog.

    Runs in the event loop; pictures are made in `executor`, so that a large one does not delay the others.
    """

    index: VolumeIndex
    pictures: picture.Pictures
    executor: Executor
    send: Send
    view: PageView = field(default_factory=PageView)
    pace: Pace = field(default_factory=Pace)
    _frame_time: FrameTime = field(default_factory=FrameTime)
    skipped: int = 0
    """Volumes that came while following and were never sent: skipped by this viewer alone."""
    _credit: int = 0
    _trust: Sequence[TrustSpan] = ()
    _notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    _sent_at: deque[float] = field(default_factory=deque)
    _drawn: tuple[PageView, Fineness, ShownChannels] | None = None
    _settled: bool = False
    _count: int = 0
    _last_sent: float = 0.0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _requests: TokenBucket = field(default_factory=lambda: TokenBucket(REQUESTS_PER_S, REQUESTS))
    _working: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One piece of work at a time, so that no browser takes all threads."""

    def note(self, note: dict[str, Any]) -> None:
        """Send a small JSON message soon; a newer one of the same type replaces one that still waits."""
        self._notes[note["type"]] = note
        self._wake.set()

    def note_trust(self, spans: Sequence[TrustSpan]) -> None:
        """Send the verdicts over time, unless the browser has them."""
        if spans != self._trust:
            self._trust = spans
            self.note({"type": "trust", "spans": spans})

    def wake(self) -> None:
        """Check again whether there is something new to show."""
        self._wake.set()

    def settle(self, now: float | None = None) -> None:
        """Let a picture that does not move become exact, however slow the link is."""
        if self._drawn is None or self._credit < CREDIT or not self._drawn[1].lossy:
            return
        if (time.monotonic() if now is None else now) - self._last_sent > _SETTLED_S:
            self._settled = True
            self._wake.set()

    async def take(self, request: PageRequest) -> None:
        """Carry out a browser's request; a browser with too many requests waits."""
        await asyncio.sleep(self._requests.owe(time.monotonic(), LONGEST_WAIT_S))
        match request:
            case PageView():
                self._look(request)
            case Credit():
                self._restock(request.n)
            case Probe():
                self.note(await self._run(self._probe, request))
            case PagePing():
                self.note({"type": "pong", "sent_ms": request.sent_ms, "clock_ms": time.monotonic() * 1e3})
        self._wake.set()

    async def pump(self) -> None:
        """Send notes and, while there is credit, pictures; ends by being cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._notes:
                await self.send(msgspec.json.encode(self._notes.pop(next(iter(self._notes)))).decode())
            await self._send_picture()

    async def _send_picture(self) -> None:
        if self._credit == 0 or self._holds():
            return
        try:
            message = await self._run(self._picture)
        except StoreError as error:
            self._notes["problem"] = {"type": "problem", "text": str(error)}  # sent at the next wake
            return
        if message is None:
            return
        self._credit -= 1
        self._last_sent = time.monotonic()
        self._sent_at.append(self._last_sent)
        await self.send(message)
        self._wake.set()

    def _holds(self) -> bool:
        """Return whether it is too early for a second picture behind the one in flight; check again in time."""
        hold_s = self._frame_time.hold_s(self._sent_at[-1], time.monotonic()) if self._sent_at else 0.0
        if hold_s > 0:
            asyncio.get_running_loop().call_later(hold_s, self.wake)
        return hold_s > 0

    def _look(self, view: PageView) -> None:
        if view.t is None and self.view.t is not None:
            self._count = self.index.cache.count  # what came while scrubbing was not skipped
        self.view = view

    def _restock(self, n: int) -> None:
        self._credit = min(CREDIT, self._credit + n)
        while self._sent_at and len(self._sent_at) > CREDIT - self._credit:
            sent_at = self._sent_at.popleft()
            self._frame_time.taken(sent_at, time.monotonic())
            if not self._settled:
                self.pace.measure(time.monotonic() - sent_at)

    def _picture(self) -> bytes | None:
        """Return the next picture, or None when the browser has already seen what there is."""
        view, count = self.view, self.index.cache.count
        volumes = self._volumes(view)
        if not volumes or not self._is_new(view, volumes):
            return None
        fineness = self.pace.fineness("exact" if self._settled and view.quality == "auto" else view.quality)
        self._drawn = (view, fineness, volumes)
        self._note_skipped(view, count)
        return self.pictures.encode(volumes, view, fineness)

    def _is_new(self, view: PageView, volumes: ShownChannels) -> bool:
        """Return whether a picture would differ from the last one: in its content, or by being exact now."""
        if self._drawn is None or (view, volumes) != (self._drawn[0], self._drawn[2]):
            self._settled = False
            return True
        return self._settled and self._drawn[1].lossy and view.quality == "auto"

    def _volumes(self, view: PageView) -> ShownChannels:
        plane_only = view.mode == "slice"
        if view.t is None:
            return self.index.following(view.p, plane_only=plane_only, z=view.z)
        newest = self.index.newest(view.p)
        p = view.p if view.p is not None else newest.p if newest is not None else 0
        grown = self.index.cache.growing(p, plane_only=plane_only, z=view.z)
        return self.index.at(view.t, p) or tuple(shown for shown in grown if shown.key.t == view.t)

    def _note_skipped(self, view: PageView, count: int) -> None:
        """Count the volumes between the last picture and this one, if the browser follows."""
        if view.t is None and self._count:
            self.skipped += max(0, count - self._count - 1)
        self._count = count

    def _probe(self, request: Probe) -> dict[str, Any]:
        volumes = self._probed(request)
        shape = max((shown.shape for shown in volumes), default=(1, 1, 1))
        at = cuts.centre(shape, request.z, request.y, request.x)
        info = self.index.info
        networks = [info.network_of(shown.key.c, shown.model) for shown in volumes]
        values = picture.probe(volumes, at, [one.half_width_factor(request.level) for one in networks])
        t = max((shown.key.t for shown in volumes), default=request.t)
        return {"type": "probe", "t": t, "p": request.p, "at": at, "level": request.level, "values": values}

    def _probed(self, request: Probe) -> ShownChannels:
        """Return the volumes whose numbers stand at a voxel: beyond what is restored, those of the one before."""
        volumes = self.index.at(request.t, request.p)
        if volumes:
            return volumes
        grown = [shown for shown in self.index.cache.growing(request.p) if shown.key.t == request.t]
        return tuple(shown if request.z < (shown.n_restored or 0) else shown.before or shown for shown in grown)

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        async with self._working:
            return await asyncio.get_running_loop().run_in_executor(self.executor, function, *arguments)
