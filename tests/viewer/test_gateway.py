"""The gateway serves nothing without its token, and closes what breaks its rules."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
import websockets

from care_live.viewer.web import access
from tests.make.scenes import TOKEN, filled, scene, serving
from tests.make.waiting import until


def test_nothing_is_served_without_the_token():
    with serving(filled()) as (_, address), httpx.Client(follow_redirects=True, timeout=60) as client:
        root = address.split("?")[0]
        for path in ("", "page/main.js", "?token=wrong", f"data/{TOKEN}/x", "page/..%2fgateway.py"):
            assert client.get(root + path).status_code in (403, 404), path
        assert client.get(address).status_code == 200
        assert "token" not in str(client.get(address).url)
        script = client.get(root + "page/main.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "default-src 'self'" in script.headers["content-security-policy"]
        for path in ("page/../gateway.py", "page/..%2f..%2fgateway.py", "page/gateway.py", "page/%2e%2e/access.py"):
            assert client.get(root + path).status_code in (403, 404), path


def test_the_runs_files_are_served_by_their_own_token_only(tmp_path):
    run = tmp_path / "run"
    (run / "raw").mkdir(parents=True)
    (run / "raw" / "zarr.json").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    key = access.data_token(TOKEN)
    with serving(filled(), run_directory=run) as (_, address), httpx.Client(timeout=60) as client:
        root = address.split("?")[0]
        answer = client.get(f"{root}data/{key}/raw/zarr.json", headers={"Range": "bytes=0-0"})
        assert (answer.status_code, answer.text) == (206, "{")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert client.get(f"{root}data/{TOKEN}/raw/zarr.json").status_code == 403
        for path in ("..%2fsecret", "%2e%2e/secret", "raw", "nothing"):
            assert client.get(f"{root}data/{key}/{path}").status_code == 404, path


@asynccontextmanager
async def connect(address: str, *, origin: str | None = None, token: str = TOKEN):
    root = address.split("/?", maxsplit=1)[0]
    port = root.rsplit(":", 1)[1]
    headers = {"Cookie": f"care_live_{port}={token}"}
    async with websockets.connect(
        root.replace("http", "ws") + "/live",
        origin=origin or root,
        additional_headers=headers,
        max_size=None,
        open_timeout=60,
        ping_timeout=None,
    ) as socket:
        yield socket


def test_a_foreign_page_or_a_wrong_token_gets_no_socket():
    async def attempt(address, **what):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(address, **what):
                pass
        assert refused.value.response.status_code == 403

    with serving(filled(scene())) as (_, address):
        asyncio.run(attempt(address, origin="http://evil.example"))
        asyncio.run(attempt(address, token="wrong"))


def test_rubbish_closes_only_its_own_socket():
    async def main(address):
        async with connect(address) as good, connect(address) as bad, connect(address) as binary:
            await bad.send('{"op": "format", "disk": "c"}')
            await binary.send(b"\0" * 100)
            for broken in (bad, binary):
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    while True:
                        await asyncio.wait_for(broken.recv(), 60)
                assert closed.value.rcvd.code == 1008
            await good.send('{"op":"credit","n":1}')
            while isinstance(await asyncio.wait_for(good.recv(), 60), str):
                pass

    with serving(filled(scene())) as (gateway, address):
        asyncio.run(main(address))
        until(lambda: gateway.n_browsers == 0)


def test_too_many_browsers_are_refused(monkeypatch):
    async def main(address):
        async with connect(address):
            async with asyncio.timeout(60):  # it is counted a moment after its handshake
                while gateway.n_browsers < 1:
                    await asyncio.sleep(0.01)
            with pytest.raises(websockets.InvalidStatus):
                async with connect(address):
                    pass

    monkeypatch.setattr("care_live.viewer.web.gateway.MAX_BROWSERS", 1)
    with serving(filled(scene())) as (gateway, address):
        asyncio.run(main(address))
