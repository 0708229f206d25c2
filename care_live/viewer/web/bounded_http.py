"""uvicorn's connections with a budget: how many, how long for a request, how long without taking what is sent."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from care_live.viewer.web.budget import MAX_FRAGMENTS, MAX_UNREAD_PONGS, REQUEST_S, STALLED_S
from care_live.viewer.web.quota import Quota


class BoundedState(ServerState):
    """What all connections of a server share."""

    def __init__(self, quota: Quota[BoundedHttp]) -> None:
        super().__init__()
        self.quota = quota


class _Stall:
    """Cuts a client that takes nothing of what is sent to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The client's buffer is full."""
        if self._timer is None:
            self._look_later()

    def end(self) -> None:
        """The connection takes bytes again, or is closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _look_later(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(STALLED_S, self._look, unsent)

    def _look(self, unsent_before: int) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= unsent_before:
            self._transport.abort()
        else:
            self._look_later()


class _WatchesStalls(asyncio.Protocol):
    """The part of a connection that ends it when its client takes nothing for too long."""

    _stall: _Stall | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is not None:
            self._stall.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.end()


class BoundedHttp(_WatchesStalls, H11Protocol):
    """One HTTP connection."""

    server_state: BoundedState
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._stall = _Stall(transport)
        address = self.client[0] if self.client else ""
        excess = self.server_state.quota.enter(self, address, self.loop.time())
        if excess is not None:
            excess.transport.abort()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._stall is not None:
            self._stall.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before and not self.cycle.response_complete:
            self._end_deadline()
            self.server_state.quota.is_answered(self, self.loop.time())

    def on_response_complete(self) -> None:
        self.server_state.quota.waits(self, self.loop.time())
        self._expect_request()
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._leave()
        super().handle_websocket_upgrade(event)

    def _expect_request(self) -> None:
        """A whole request must come in time, however many bytes of it trickle in."""
        self._end_deadline()
        self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None

    def _leave(self) -> None:
        self._end_deadline()
        self.server_state.quota.leave(self)


class BoundedWebSocket(_WatchesStalls, WebSocketsSansIOProtocol):
    """One browser's WebSocket."""

    _n_unread_pongs: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stall = _Stall(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stall is not None:
            self._stall.end()
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        """Answer a ping, unless the client takes no answers: nothing else limits them."""
        super().handle_ping()
        self._n_unread_pongs = 0 if self.writable.is_set() else self._n_unread_pongs + 1
        if self._n_unread_pongs > MAX_UNREAD_PONGS:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self.transport.abort()
        else:
            super().handle_cont(event)
