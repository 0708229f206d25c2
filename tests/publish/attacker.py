"""A hostile client, in a process of its own: ``python attacker.py KIND ROUTER-ADDRESS BROADCAST-ADDRESS``.

Prints a line once it is at work, and goes on until it is killed.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import zmq

CONTEXT = zmq.Context()


def dealer(address: str, hwm: int = 1000) -> zmq.Socket[bytes]:
    link = CONTEXT.socket(zmq.DEALER)
    link.set_hwm(hwm)
    link.setsockopt(zmq.LINGER, 0)
    link.connect(address)
    return link


def request(kind: str, **fields: Any) -> bytes:
    return json.dumps({"protocol": "cl1", "type": kind} | fields).encode()


def at_work() -> None:
    print("at work", flush=True)


def flood(pull: str, make: Callable[[int], bytes], *, reads: bool) -> None:
    """Send as fast as the daemon takes it."""
    link = dealer(pull)
    link.send(request("hello"))
    at_work()
    for i in itertools.count():
        if reads:
            while link.poll(0):
                link.recv_multipart()
        try:
            link.send(make(i), zmq.NOBLOCK)
        except zmq.Again:
            link.poll(5)


def small(i: int) -> bytes:
    view = {"level": 4, "origin_px": [i % 8, i // 8 % 8, i // 64 % 8], "shape_px": [1, 1, 1]}
    return request("fetch", id=i, key=[0, 0, 0], view=view)


def large(i: int) -> bytes:
    return request("fetch", id=i, key=[i % 4, 0, 0], view={"quantised": True, "codec": "blosc2", "level": i % 5})


def newest_of_all_views(i: int) -> bytes:
    view = {"quantised": True, "codec": "blosc2", "level": i % 5, "shape_px": [8, 1 + i % 65536, 65536]}
    return request("newest", credit=8, last=i, view=view)


def frozen(pull: str) -> None:
    """Ask for everything on several links, again and again, and never read."""
    links = [dealer(pull, hwm=1) for _ in range(4)]
    session = None
    while session is None:
        links[0].send(request("hello"))
        session = json.loads(links[0].recv_multipart()[0]).get("session")
    at_work()
    for i in itertools.count():
        for link in links:
            for said in (
                request("newest", credit=8),
                request("replay", session=session, first=0, credit=8),
                request("fetch", id=i, key=[i % 4, 0, 0]),
            ):
                try:
                    link.send(said, zmq.NOBLOCK)
                except zmq.Again:
                    continue
        time.sleep(0.02)


def junk_topics(broadcast: str) -> None:
    """Subscribe and unsubscribe as fast as it goes."""
    at_work()
    while True:
        link = CONTEXT.socket(zmq.SUB)
        link.setsockopt(zmq.LINGER, 0)
        link.connect(broadcast)
        for i in range(5000):
            link.setsockopt(zmq.SUBSCRIBE, b"cl1/raw/L0/plain/%d" % i)
            if i % 3 == 0:
                link.setsockopt(zmq.UNSUBSCRIBE, b"cl1/raw/L0/plain/%d" % i)
        link.close()


def all_topics(broadcast: str, *, reads: bool) -> None:
    """Have every topic made, twice."""
    links = []
    for _ in range(2):
        link = CONTEXT.socket(zmq.SUB)
        link.connect(broadcast)
        for product, level, coding in itertools.product(("restored", "raw", "slab"), range(5), ("plain", "quantised")):
            link.setsockopt(zmq.SUBSCRIBE, f"cl1/{product}/L{level}/{coding}/".encode())
        links.append(link)
    at_work()
    while True:
        for link in links:
            if reads and link.poll(5):
                link.recv_multipart()
        if not reads:
            time.sleep(1)


def many_connections(pull: str) -> None:
    """Come again and again, on as many connections as there are places."""
    links: list[zmq.Socket[bytes]] = []
    at_work()
    while True:
        links.append(dealer(pull))
        links[-1].send(request("hello"))
        for link in links:
            link.send(request("newest", credit=8), zmq.NOBLOCK)
        if len(links) > 50:
            links.pop(0).close()
        time.sleep(0.01)


def half_open(pull: str, broadcast: str) -> None:
    """Connect, and say nothing, or half a greeting."""
    ends: list[socket.socket] = []
    at_work()
    while True:
        for address in (pull, broadcast):
            host, port = address.removeprefix("tcp://").split(":")
            try:
                ends.append(socket.create_connection((host, int(port)), timeout=0.5))
                ends[-1].sendall(b"\xff\x00\x00" * (len(ends) % 2))
            except OSError:
                time.sleep(0.01)
        while len(ends) > 40:
            ends.pop(0).close()


def main(kind: str, pull: str, broadcast: str) -> None:
    attacks: dict[str, Callable[[], None]] = {
        "hello": lambda: flood(pull, lambda _: request("hello"), reads=False),
        "nonsense": lambda: flood(pull, lambda i: b"{" * (i % 999), reads=True),
        "smallest-fetches": lambda: flood(pull, small, reads=True),
        "largest-fetches": lambda: flood(pull, large, reads=True),
        "newest-of-all-views": lambda: flood(pull, newest_of_all_views, reads=True),
        "never-reads": lambda: frozen(pull),
        "junk-topics": lambda: junk_topics(broadcast),
        "all-topics": lambda: all_topics(broadcast, reads=True),
        "all-topics-unread": lambda: all_topics(broadcast, reads=False),
        "many-connections": lambda: many_connections(pull),
        "half-open": lambda: half_open(pull, broadcast),
    }
    attacks[kind]()


if __name__ == "__main__":
    main(*sys.argv[1:])
