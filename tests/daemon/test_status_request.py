"""A command reaches a daemon of this machine whatever proxy the laboratory has for the web."""

from __future__ import annotations

import http.server
import threading
import urllib.error
from collections.abc import Iterator

import pytest

from care_live.daemon.status_request import open_status
from tests.make.runs import free_ports


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/status" else 404)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server, in a laboratory whose proxy does not answer."""
    (unused,) = free_ports(1)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused}")
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_proxy_is_passed_by(port: int) -> None:
    with open_status(f"http://127.0.0.1:{port}/status", 60) as answer:
        assert answer.read() == b"here"


def test_what_the_daemon_does_not_have_is_an_error(port: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        open_status(f"http://127.0.0.1:{port}/nothing", 60)
    assert refused.value.code == 404
    refused.value.close()
