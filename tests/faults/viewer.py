"""A watcher in a process of its own, which writes a line of JSON for each volume.

``python -m tests.faults.viewer WAY ADDRESS [S]``

WAY is how it watches: *newest* or *every* (a subscriber), *broadcast* (a listener), *page* (a browser's WebSocket; then
ADDRESS is the page's). S seconds of work go into each volume.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import httpx

from care_live.publish import Delivery, Listener, Subscriber


def subscribed(way: str, address: str) -> Iterator[dict[str, object]]:
    with Subscriber(address, mode="every" if way == "every" else "newest") as subscriber:
        for volume in subscriber.volumes(timeout_s=60):
            yield _line(volume)


def listened(address: str) -> Iterator[dict[str, object]]:
    with Listener(address, ("restored", "raw")) as listener:
        while (received := listener.next(60)) is not None:
            if isinstance(received, Delivery) and received.is_whole:
                yield _line(received)


def browsed(url: str) -> Iterator[dict[str, object]]:
    """Take every picture as the page does, and ask for the next."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    home = url.partition("/?token=")[0]
    cookies = httpx.get(url, timeout=60).cookies
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    live = home.replace("http://", "ws://") + "/live"
    with connect(live, origin=home, additional_headers=cookie, max_size=None, open_timeout=60) as link:
        link.send('{"op":"credit","n":2}')
        try:
            for message in link:
                if isinstance(message, bytes):
                    yield {"t": None, "bytes": len(message)}
                    link.send('{"op":"credit","n":1}')
        except ConnectionClosed:
            return


def _line(volume: Delivery) -> dict[str, object]:
    return {"t": volume.key.t, "seq": volume.seq, "age_s": volume.age_s, "skipped": volume.n_skipped}


def main() -> None:
    way, address, *work_s = sys.argv[1:]
    lines = {"broadcast": listened, "page": browsed}.get(way, lambda address: subscribed(way, address))(address)
    for line in lines:
        print(json.dumps(line), flush=True)
        time.sleep(float(*work_s) if work_s else 0.0)


if __name__ == "__main__":
    main()
