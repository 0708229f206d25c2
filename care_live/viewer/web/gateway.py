"""The page's server: a few files, one WebSocket, the run's files; nothing without the token."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from care_live.errors import ProtocolError
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web import access, requests, state
from care_live.viewer.web.budget import LONGEST_WAIT_S, MAX_BROWSERS, MAX_BROWSERS_OF_ADDRESS
from care_live.viewer.web.page import read_page
from care_live.viewer.web.picture import Pictures
from care_live.viewer.web.viewer_session import ViewerSession
from care_live.wire.printable import printable
from care_live.wire.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

REFUSALS, REFUSALS_PER_S = 50, 20
"""Refused requests of one address: at once, and each second."""
MAX_LOGGED = 200
"""Characters of a path."""
RESTORING_S = 0.2
"""How often browsers receive how much of a volume is restored."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_SHARED = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "range",
    "Access-Control-Expose-Headers": "content-range, content-length, accept-ranges, etag",
    "Access-Control-Allow-Private-Network": "true",
}
"""Of the run's files, which another viewer's page reads by their link: ranges of shards, from this machine too."""


@dataclass
class Gateway:
    """Serves one run to browsers.

    Only the page's own files, read at the start, have an address: no path of a request reaches the disk,
    except below ``/data/TOKEN/``, which serves the run directory and nothing outside it.
    """

    index: VolumeIndex
    token: str
    run_directory: Path | None = None
    sessions: set[ViewerSession] = field(default_factory=set, init=False)
    """Of the browsers that are connected."""
    _browsers: Counter[str] = field(default_factory=Counter)
    """WebSockets by address."""
    _refusals: dict[str, TokenBucket] = field(default_factory=dict)
    """By address; an address that is not refused any more is dropped."""
    _pictures: Pictures = field(default_factory=Pictures)
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "care_live web picture"))
    _files: dict[str, tuple[bytes, str]] = field(default_factory=read_page)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._index),
                Route("/page/{name}", self._file),
                Route("/data/{token}/{path:path}", self._data, methods=["GET", "HEAD", "OPTIONS"]),
                WebSocketRoute("/live", self._live),
            ],
            lifespan=self._lifespan,
        )

    @property
    def n_browsers(self) -> int:
        return len(self.sessions)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake)

        unwatch = self.index.cache.watch(wake)
        reporting = [asyncio.create_task(self._report()), asyncio.create_task(self._report_restoring())]
        try:
            yield
        finally:
            unwatch()
            for task in reporting:
                task.cancel()
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _wake(self) -> None:
        for session in self.sessions:
            session.wake()

    async def _report(self) -> None:
        """Send every browser the status of the run once a second."""
        while True:
            await asyncio.sleep(1.0)
            await self._note_status(tuple(self.sessions))

    async def _report_restoring(self) -> None:
        """Send every browser how much of a volume is restored, but not for every slab."""
        said: dict[str, Any] = {}
        while True:
            await asyncio.sleep(RESTORING_S)
            if (note := state.restoring(self.index)) != said:
                said = note
                for session in self.sessions:
                    session.note(note)

    async def _note_status(self, sessions: tuple[ViewerSession, ...]) -> None:
        keys = await asyncio.to_thread(self.index.known)
        spans = await asyncio.to_thread(self.index.trust_spans)
        for session in sessions:
            session.note_trust(spans)
            session.settle()
            session.note(state.restoring(self.index))
            session.note(state.status(self.index, keys, session))
            session.note(state.run(self.index.info, self.run_directory, access.data_token(self.token)))

    async def _index(self, request: Request) -> Response:
        """Send the page to a browser with the cookie; a browser with the token gets the cookie first."""
        if access.same(request.query_params.get("token"), self.token):
            answer: Response = RedirectResponse("/", status_code=303)
            answer.set_cookie(self._cookie(request), self.token, httponly=True, samesite="lax", path="/")
            return answer
        if not self._known(request):
            return await self._refuse(request, "open the address that care-live web printed, with its token")
        content, kind = self._files["index.html"]
        return Response(content, media_type=kind, headers=_HEADERS)

    async def _file(self, request: Request) -> Response:
        if not self._known(request):
            return await self._refuse(request, "no token")
        found = self._files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such file", status_code=404, headers=_HEADERS)
        return Response(found[0], media_type=found[1], headers=_HEADERS)

    async def _data(self, request: Request) -> Response:
        """Serve a file of the run to another viewer, which has only this link and no cookie."""
        if not access.same(request.path_params["token"], access.data_token(self.token)):
            return await self._refuse(request, "wrong token")
        if request.method == "OPTIONS":
            return Response(headers=_SHARED)
        path = None
        if self.run_directory is not None:
            path = await asyncio.to_thread(access.inside, self.run_directory, request.path_params["path"])
        if path is None:
            return PlainTextResponse("no such file in this run", status_code=404, headers=_SHARED)
        return FileResponse(path, headers=_SHARED | {"X-Content-Type-Options": "nosniff"})

    async def _live(self, socket: WebSocket) -> None:
        """Serve one browser until it disconnects."""
        if not self._known(socket) or not access.same_origin(socket.headers.get("origin"), socket.headers.get("host")):
            await self._slow_down(socket)
            _log_refusal(socket, "foreign origin or no token")
            await socket.close(code=4403)
            return
        address = _address(socket)
        if len(self.sessions) >= MAX_BROWSERS or self._browsers[address] >= MAX_BROWSERS_OF_ADDRESS:
            _log_refusal(
                socket, f"{self._browsers[address]} browsers of this address are watching, {self.n_browsers} of all"
            )
            await socket.close(code=1013)
            return
        self._browsers[address] += 1
        try:
            await socket.accept()
            await self._serve(socket)
        finally:
            self._browsers[address] -= 1

    async def _serve(self, socket: WebSocket) -> None:
        async def send(message: bytes | str) -> None:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_text(message))

        session = ViewerSession(self.index, self._pictures, self._executor, send)
        self.sessions.add(session)
        await self._note_status((session,))
        tasks = {asyncio.create_task(session.pump()), asyncio.create_task(_listen(socket, session))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await _close_after_failure(socket, done)
        finally:
            self.sessions.discard(session)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _refuse(self, request: Request, why: str) -> Response:
        await self._slow_down(request)
        _log_refusal(request, why)
        return PlainTextResponse(f"care_live: {why}\n", status_code=403, headers=_HEADERS)

    async def _slow_down(self, connection: Request | WebSocket) -> None:
        """Delay clients that are refused again and again: to guess a token takes for ever, and costs others nothing."""
        now_s = time.monotonic()
        for address in [address for address, bucket in self._refusals.items() if bucket.left(now_s) == REFUSALS]:
            del self._refusals[address]
        bucket = self._refusals.setdefault(_address(connection), TokenBucket(REFUSALS_PER_S, REFUSALS))
        await asyncio.sleep(bucket.owe(now_s, LONGEST_WAIT_S))

    def _known(self, connection: Request | WebSocket) -> bool:
        return access.same(connection.cookies.get(self._cookie(connection)), self.token)

    def _cookie(self, connection: Request | WebSocket) -> str:
        """Name the cookie after the port: cookies hold for all ports of a host, and two runs may be watched at once."""
        return f"care_live_{connection.url.port or 80}"


async def _close_after_failure(socket: WebSocket, done: set[asyncio.Task[None]]) -> None:
    """Log a failure of a session; the browser then connects again."""
    for error in (task.exception() for task in done):
        if error is not None and not isinstance(error, WebSocketDisconnect):
            logger.error("web session failed error=%r", error)
            with contextlib.suppress(RuntimeError):  # it is closed already
                await socket.close(code=1011)


async def _listen(socket: WebSocket, session: ViewerSession) -> None:
    """Take the browser's requests until it disconnects or breaks the rules."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            try:
                text = await socket.receive_text()
                await session.take(requests.parse(text))
            except (ProtocolError, KeyError) as error:  # KeyError: Starlette got bytes instead of text
                _log_refusal(socket, str(error))
                await socket.close(code=1008)
                return


def _address(connection: Request | WebSocket) -> str:
    return connection.client.host if connection.client else "unknown"


def _log_refusal(connection: Request | WebSocket, why: str) -> None:
    path = printable(connection.url.path[:MAX_LOGGED])
    logger.warning("web refused client=%s path=%s why=%s", _address(connection), path, printable(why))
