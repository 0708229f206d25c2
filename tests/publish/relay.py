"""A TCP relay that can be cut: what a pulled network cable looks like to both ends."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Relay:
    """Passes bytes between a client and a server until `cut`, and again after `mend`.

    Parameters
    ----------
    target
        The server, tcp://HOST:PORT.
    bytes_per_s
        What the link takes; none: as much as comes.
    """

    def __init__(self, target: str, *, bytes_per_s: float | None = None) -> None:
        host, port = target.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._bytes_per_s = bytes_per_s
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._door.getsockname()[1]}"
        self._open, self._closing = threading.Event(), threading.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._run, name="relay")
        self._thread.start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join(60)
        self._door.close()

    def _run(self) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        while not self._closing.is_set():
            if not self._open.is_set():
                self._hang_up(pairs)
            for end in _ready([self._door, *pairs]):
                if end is self._door:
                    self._let_in(pairs)
                elif end in pairs:
                    self._pass_on(end, pairs)
        self._hang_up(pairs)

    def _let_in(self, pairs: dict[socket.socket, socket.socket]) -> None:
        near, _ = self._door.accept()
        if not self._open.is_set():
            near.close()
            return
        try:
            far = socket.create_connection(self._target)
        except OSError:  # the server is away
            near.close()
            return
        pairs[near], pairs[far] = far, near

    def _pass_on(self, end: socket.socket, pairs: dict[socket.socket, socket.socket]) -> None:
        other = pairs[end]
        try:
            if data := end.recv(65536):
                other.sendall(data)
                if self._bytes_per_s:
                    self._closing.wait(len(data) / self._bytes_per_s)
                return
        except OSError:
            pass
        for gone in (end, other):
            pairs.pop(gone, None)
            gone.close()

    @staticmethod
    def _hang_up(pairs: dict[socket.socket, socket.socket]) -> None:
        for end in pairs:
            with contextlib.suppress(OSError):
                end.close()
        pairs.clear()


def _ready(ends: list[socket.socket]) -> list[socket.socket]:
    """Return the sockets that have something to read, now or soon; select() itself takes no number above 1023."""
    with selectors.DefaultSelector() as waiting:
        for end in ends:
            waiting.register(end, selectors.EVENT_READ, end)
        return [key.data for key, _ in waiting.select(0.02)]
