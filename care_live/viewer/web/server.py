"""Run the gateway in this process until Ctrl-C, SIGTERM, or the end of the program that started it."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from care_live.errors import ConfigError
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.live_feed import LiveFeed
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web import budget, log_rate
from care_live.viewer.web.bounded_http import BoundedHttp, BoundedState, BoundedWebSocket
from care_live.viewer.web.gateway import Gateway
from care_live.viewer.web.quota import Quota
from care_live.wire.address import is_loopback_host
from care_live.wire.keys import ClientKeys


def listen(host: str, port: int) -> socket.socket:
    """Bind the page's address before anything is started, so that the printed one is true.

    Raises
    ------
    ConfigError
        The address is taken or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where reusing means sharing
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot serve the page at {host}:{port}: {error.strerror}; try another --bind") from error
    return listener


def url(listener: socket.socket, token: str) -> str:
    """Return what a person opens."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={token}"


class Server(uvicorn.Server):
    """uvicorn with a budget for its clients (budgets.md), and a hook for the moment from which it answers."""

    def __init__(self, gateway: Gateway, *, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                gateway.app(),
                loop="asyncio",  # not uvloop where that happens to be installed: the budgets count on these transports
                http=BoundedHttp,
                ws=BoundedWebSocket,
                backlog=budget.ACCEPTED_AT_ONCE,
                h11_max_incomplete_event_size=budget.MAX_HEAD_BYTES,
                ws_max_size=budget.MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self.server_state = BoundedState(Quota(max_all=min(budget.MAX_CONNECTIONS, _most_files() // 2)))
        self._on_started = started

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        with log_rate.limited():
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


@contextlib.contextmanager
def following(address: str | None, directory: Path | None, *, keys: ClientKeys | None = None) -> Iterator[VolumeIndex]:
    """Yield an index that a daemon, a run directory, or both fill."""
    cache = LiveCache()
    feed = LiveFeed(address, cache, keys=keys, slabs=True) if address else None
    try:
        yield VolumeIndex(cache, History(directory) if directory else None)
    finally:
        if feed is not None:
            feed.close()


def serve(
    index: VolumeIndex,
    listener: socket.socket,
    token: str,
    *,
    directory: Path | None,
    started: Callable[[], None],
    leashed: bool = False,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM; `started` is called when it answers.

    *leashed*: also until standard input ends, so that the page never outlives a daemon that was killed.
    """
    server = Server(Gateway(index, token, directory), started=started)
    if leashed:
        threading.Thread(target=_end_with_stdin, args=(server,), name="leash").start()
    server.run(sockets=[listener])


def _end_with_stdin(server: uvicorn.Server) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    server.should_exit = True


def _most_files() -> int:
    """Return how many files and sockets this process may have open."""
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return sys.maxsize if soft == resource.RLIM_INFINITY else soft
    else:
        return sys.maxsize


def exposed(host: str) -> str | None:
    """Return a warning for an address that other machines can reach, or None for loopback."""
    if is_loopback_host(host):
        return None
    return f"the page is open to other machines at {host} (with the token); others on the network can read plain HTTP"
