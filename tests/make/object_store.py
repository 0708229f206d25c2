"""A real S3 server on this machine, nanio, in a process of its own: it may be killed, begin again, and refuse requests.

Run as a script it serves the socket that it inherits, so that a server started again has the address of the one before.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

KEY, SECRET = "care", "only for tests"
_BUSY, _COUNTS = "busy", "requests"


class ObjectStore:
    """Buckets are folders, objects are files below `folder`; requests are signed and checked as Amazon's are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.buckets = folder / "buckets"
        self.buckets.mkdir(parents=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What s3fs reads."""
        named = {"ENDPOINT_URL": self.endpoint, "ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET}
        return {f"AWS_{name}": value for name, value in named.items()} | {"AWS_DEFAULT_REGION": "us-east-1"}

    def start(self) -> None:
        """Begin to serve; requests that come before wait in the socket."""
        number = self._socket.fileno()
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self._folder), str(number)], pass_fds=[number], stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Have it lose its power; what it had stored stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        self.kill()
        self._socket.close()

    def refuse(self, share: float) -> None:
        """Have it answer a share of all requests, evenly, with 503 *SlowDown*, as S3 does at a high rate."""
        (self._folder / _BUSY).write_text(str(share))

    def n_requests(self) -> Counter[str]:
        """Return how many requests came, by method, and how many were refused."""
        file = self._folder / _COUNTS
        return Counter(file.read_text().split()) if file.exists() else Counter()


def serve(folder: Path, number: int) -> None:
    import uvicorn
    from nanio.app import build_app
    from nanio.auth.credentials import StaticCredentialResolver
    from nanio.config import Settings

    settings = Settings(data_dir=folder / "buckets", credentials=StaticCredentialResolver({KEY: SECRET}))
    app = Refusing(build_app(settings), folder)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    server.run(sockets=[socket.socket(fileno=number)])


class Refusing:
    """Between the network and the server: counts requests, and refuses some."""

    def __init__(self, app: Any, folder: Path) -> None:
        self._app, self._folder, self._owed = app, folder, 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        busy = self._folder / _BUSY
        self._owed += float(busy.read_text() or 0) if busy.exists() else 0.0
        refused = self._owed >= 1.0
        with (self._folder / _COUNTS).open("a") as counts:
            counts.write(f"{'refused' if refused else scope['method']}\n")
        if not refused:
            await self._app(scope, receive, send)
            return
        self._owed -= 1.0
        while (await receive()).get("more_body"):  # a client that still sends would see its connection end
            pass
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


if __name__ == "__main__":
    os.environ.pop("PYTHONWARNINGS", None)
    serve(Path(sys.argv[1]), int(sys.argv[2]))
