"""A server behind a door."""

from __future__ import annotations

import socket
import threading
import time

from care_live.wire.address import listen
from care_live.wire.door import Door
from care_live.wire.relay import Budget


class Server:
    """Listens behind a door: says back what it reads, while it reads."""

    def __init__(self, budget: Budget) -> None:
        self._behind = socket.create_server(("127.0.0.1", 0))
        self.reads = threading.Event()
        self.reads.set()
        self.ended: list[bytes] = []
        """What each client had said when it went."""
        self.clients: list[socket.socket] = []
        """The server's end of each connection."""
        self._threads: list[threading.Thread] = []
        listener = listen("tcp://127.0.0.1:0")
        self.where = listener.getsockname()
        self.door = Door(listener, lambda: socket.create_connection(self._behind.getsockname()), budget)
        self._start(self._accept)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._behind.accept()
            except OSError:
                return
            self.clients.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        said = b""
        with client:
            while self.reads.wait(120) and (data := client.recv(65536)):
                said += data
                client.sendall(data)
        self.ended.append(said)

    def close(self) -> None:
        self._behind.shutdown(socket.SHUT_RDWR)
        self._behind.close()
        self.reads.set()
        self.door.close(2.0, cut=True)
        for thread in self._threads:
            thread.join(60)


def is_served(where: tuple[str, int]) -> bool:
    with socket.create_connection(where, timeout=60) as client:
        try:
            client.sendall(b"x")
            return client.recv(1) == b"x"
        except ConnectionError:
            return False


def eventually(condition: object, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
