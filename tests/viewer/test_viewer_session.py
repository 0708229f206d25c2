"""A browser gets the newest at its own pace, never a backlog."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import websockets

from care_live.config import StoreConfig
from care_live.images import VolumeKey
from care_live.store import open_run
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web import picture
from care_live.viewer.web.fineness import FrameTime
from care_live.viewer.web.requests import CREDIT
from tests.make.scenes import STARTED, filled, restored, scene, serving

from .test_gateway import connect

pytestmark = pytest.mark.slow
SMALL = (4, 16, 24)


async def pictures(socket: websockets.ClientConnection, n: int = 1) -> list[dict]:
    """Return the headers of the next pictures, however long they take."""
    found: list[dict] = []
    async with asyncio.timeout(60):
        while len(found) < n:
            message = await socket.recv()
            if isinstance(message, bytes):
                found.append(picture.unpack(message)[0])
    return found


async def no_picture(socket: websockets.ClientConnection, *, for_s: float = 0.5) -> bool:
    """Tell whether no picture comes for a while."""
    try:
        async with asyncio.timeout(for_s):
            while not isinstance(await socket.recv(), bytes):
                pass
    except TimeoutError:
        return True
    return False


async def note(socket: websockets.ClientConnection, kind: str, **wanted: object) -> dict:
    """Return the next message of one type that says what is wanted."""
    async with asyncio.timeout(60):
        while True:
            message = await socket.recv()
            said = json.loads(message) if isinstance(message, str) else {}
            if said.get("type") == kind and wanted.items() <= said.items():
                return said


def test_two_pictures_at_most_are_on_their_way_and_the_next_is_the_newest():
    index = filled(scene(0, shape=SMALL))

    async def main(address):
        async with connect(address) as socket:
            await socket.send('{"op":"credit","n":2}')
            assert [one["t"] for one in await pictures(socket)] == [0]
            index.cache.put(scene(1, shape=SMALL))
            assert [one["t"] for one in await pictures(socket)] == [1]
            for t in range(2, 6):
                index.cache.put(scene(t, shape=SMALL))
            assert await no_picture(socket), "no credit was left"
            await socket.send('{"op":"credit","n":1}')
            assert [one["t"] for one in await pictures(socket)] == [5]
            assert await note(socket, "status", skipped_by_viewer=3)

    with serving(index) as (_, address):
        asyncio.run(main(address))


def test_what_came_while_scrubbing_was_not_skipped():
    index = filled(*(scene(t, shape=SMALL) for t in range(3)))

    async def main(address):
        async with connect(address) as socket:
            await socket.send('{"op":"view","revision":1,"t":1}')
            await socket.send('{"op":"credit","n":2}')
            assert [(one["t"], one["live"]) for one in await pictures(socket)] == [(1, False)]
            for t in range(3, 6):
                index.cache.put(scene(t, shape=SMALL))
            await socket.send('{"op":"view","revision":2,"t":null}')
            assert [one["t"] for one in await pictures(socket)] == [5]
            assert (await note(socket, "status", times=[*range(6)]))["skipped_by_viewer"] == 0

    with serving(index) as (_, address):
        asyncio.run(main(address))


def test_a_slow_browser_delays_no_other():
    index = filled(scene(0, shape=SMALL))

    async def main(address):
        async with connect(address) as slow, connect(address) as quick:
            await slow.send('{"op":"credit","n":2}')
            await quick.send('{"op":"credit","n":1}')
            assert [one["t"] for one in await pictures(quick)] == [0]
            for t in range(1, 8):
                index.cache.put(scene(t, shape=SMALL))
                await quick.send('{"op":"credit","n":1}')
                assert [one["t"] for one in await pictures(quick)] == [t]

    with serving(index) as (_, address):
        asyncio.run(main(address))


def test_a_state_that_changes_is_shown_again():
    index = filled(scene(0, shape=SMALL))

    async def main(address):
        async with connect(address) as socket:
            await socket.send('{"op":"credit","n":2}')
            assert (await pictures(socket))[0]["channels"][0]["state"] == "provisional"
            index.cache.change(VolumeKey(0), "suspect")
            assert (await pictures(socket))[0]["channels"][0]["state"] == "suspect"

    with serving(index) as (_, address):
        asyncio.run(main(address))


def test_probe_run_and_status_are_sent():
    index = filled(scene(0, shape=SMALL))

    async def main(address):
        async with connect(address) as socket:
            run = await note(socket, "run")
            assert run["limits"] == "not for intensity quantification" and run["model"] == "worm3d"
            assert await note(socket, "status", times=[0])
            await socket.send('{"op":"probe","t":0,"p":0,"z":1,"y":2,"x":3}')
            probe = await note(socket, "probe")
            assert probe["values"][0]["raw"] == scene(0, shape=SMALL).raw[1, 2, 3]
            await socket.send('{"op":"probe","t":9,"p":0,"z":1,"y":2,"x":3}')
            assert (await note(socket, "probe"))["values"] == []
            await socket.send('{"op":"ping","sent_ms":5.0}')
            pong = await note(socket, "pong")
            assert pong["sent_ms"] == 5.0 and abs(pong["clock_ms"] - time.monotonic() * 1e3) < 60_000

    with serving(index) as (_, address):
        asyncio.run(main(address))


def test_a_coarse_picture_that_stands_becomes_exact():
    index = filled(scene(0, shape=SMALL))

    async def main(address):
        async with connect(address) as socket:
            await socket.send('{"op":"view","revision":1}')
            await socket.send('{"op":"credit","n":2}')
            assert not (await pictures(socket))[0]["lossy"]
            (session,) = gateway.sessions
            session.pace.step = 1
            await socket.send('{"op":"credit","n":2}')
            index.cache.put(scene(1, shape=SMALL))
            assert (await pictures(socket))[0]["lossy"]
            await socket.send('{"op":"credit","n":2}')
            (settled,) = await pictures(socket)
            assert settled["t"] == 1 and not settled["lossy"]

    with serving(index) as (gateway, address):
        asyncio.run(main(address))


def test_the_whole_run_can_be_scrubbed_from_the_store_while_it_is_recorded(tmp_path):
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), STARTED)
    index = VolumeIndex(LiveCache(), History(tmp_path / "run-1"))

    async def main(address):
        async with connect(address) as socket:
            await socket.send('{"op":"view","revision":1,"t":0}')
            await socket.send('{"op":"credit","n":2}')
            writer.write_raw(restored(0).volume)
            (before,) = await pictures(socket)
            assert (before["t"], before["channels"][0]["restored"]) == (0, False)
            writer.write_restored(restored(0))
            (after,) = await pictures(socket)
            assert (after["t"], after["channels"][0]["restored"]) == (0, True)
            await socket.send('{"op":"credit","n":2}')
            index.cache.put(scene(1, shape=SMALL))
            assert await no_picture(socket), "a live volume does not steal the view"
            assert await note(socket, "status", times=[0, 1])

    with serving(index) as (_, address):
        asyncio.run(main(address))
    writer.close()


def test_a_volume_that_cannot_be_read_is_said_and_the_rest_goes_on(tmp_path):
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), STARTED)
    writer.write_raw(restored(0).volume)
    writer.close()
    (shard,) = (path for path in (tmp_path / "run-1" / "raw" / "0" / "0" / "c").rglob("*") if path.is_file())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    index = VolumeIndex(LiveCache(), History(tmp_path / "run-1"))

    async def main(address):
        async with connect(address) as socket:
            await socket.send('{"op":"credit","n":2}')
            assert "run-1" in (await note(socket, "problem"))["text"]
            index.cache.put(scene(1, shape=SMALL))
            assert [one["t"] for one in await pictures(socket)] == [1]

    with serving(index) as (_, address):
        asyncio.run(main(address))


def test_a_browser_four_times_slower_than_the_source_shows_nothing_older_than_one_and_a_half_of_its_frames():
    """The page gives credit when a picture is drawn; the next one must not have waited behind it for a whole frame."""
    frame, period_s, frame_s, step_s = FrameTime(), 0.1, 0.4, 0.01
    on_their_way, ages_s, last_s, drawn_at_s = [], [], -1.0, 0.0
    for now_s in (n * step_s for n in range(4000)):
        if on_their_way and now_s >= drawn_at_s:
            sent_s, published_s = on_their_way.pop(0)
            frame.taken(sent_s, now_s)
            ages_s.append(now_s - published_s)
            drawn_at_s = now_s + frame_s
        newest_s = now_s // period_s * period_s
        has_turn = not on_their_way or frame.hold_s(on_their_way[-1][0], now_s) <= 0
        if newest_s > last_s and has_turn and len(on_their_way) < CREDIT:
            drawn_at_s = drawn_at_s if on_their_way else now_s + frame_s
            on_their_way.append((now_s, newest_s))
            last_s = newest_s
    assert max(ages_s[3:]) <= 1.5 * frame_s + period_s + 2 * step_s, "the newest volume is up to one period old"
    assert len(ages_s) >= 0.95 * 4000 * step_s / frame_s, "the browser waits for pictures"
