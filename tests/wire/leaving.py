"""Peers that go away at the worst moment, each in a process of its own: ``python -m tests.wire.leaving ROLE …``."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zmq

from care_live.config import RemoteConfig
from care_live.publish.listener import Listener
from care_live.publish.publisher import Publisher
from care_live.source.remote import Remote
from care_live.source.tap import tap as open_tap
from care_live.wire import keys
from care_live.wire.sockets import Sockets
from tests.make import samples

HELLO = b'{"protocol":"cl1","type":"hello"}'


@contextmanager
def process(role: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a role until the block ends; its first line of output means that it is ready."""
    command = [sys.executable, "-m", "tests.wire.leaving", role, *arguments]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def first_line(started: subprocess.Popen[str]) -> list[str]:
    assert started.stdout is not None
    return started.stdout.readline().split()


def say(*words: object) -> None:
    print(*words, flush=True)


# -- roles ----------------------------------------------------------------------------------------------------------


def answer(folder: str = "") -> None:
    """A server that is busy most of the time: it reads what came, and is away again; it counts its rounds."""
    server = None
    if folder:
        server = keys.ServerKeys(keys.read_pair(Path(folder, "server.key")), keys.AllowList(Path(folder, "allowed")))
    with Sockets(server=server) as hub:
        router = hub.bind("router", "tcp://127.0.0.1:0", hwm=64)
        say(router.address)
        for n in itertools.count():
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                hub.poll(0.05)
                while (received := router.receive()) is not None and time.monotonic() < until:
                    router.send([b"here", n.to_bytes(4, "big")], to=received.peer)
            time.sleep(1.2)


def publish() -> None:
    """A daemon's publishing."""
    with Publisher(samples.config()) as publisher:
        publisher.start(samples.started(), samples.NETWORK)
        say(publisher.address, publisher.address_pull)
        for t in itertools.count():
            publisher.publish(samples.restored(t, shape=(8, 128, 128)))
            time.sleep(0.02)


def flood(address: str, seconds: str, *curve: str) -> None:
    """Ask and ask, read nothing, and leave without a word."""
    link = zmq.Context().socket(zmq.DEALER)
    link.rcvhwm = 1
    if curve:
        link.curve_serverkey, link.curve_publickey, link.curve_secretkey = map(str.encode, curve)
    link.connect(address)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        try:
            link.send(HELLO, zmq.NOBLOCK)
        except zmq.Again:
            time.sleep(0.001)
    os._exit(0)


def flood_with_heartbeats(address: str, seconds: str) -> None:
    """The same, by a client that sends ZMTP heartbeats of its own between its requests, and resets the link."""
    host, port = address.removeprefix("tcp://").split(":")
    link = socket.create_connection((host, int(port)))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER\x08Identity" + bytes(4)
    link.sendall(b"\x04" + bytes([len(ready)]) + ready)
    link.settimeout(0.2)
    round_of_it = memoryview((bytes([0, len(HELLO)]) + HELLO + b"\x04\x07\x04PING\0\0") * 200)
    left = round_of_it
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        try:
            left = left[link.send(left) :] or round_of_it
        except TimeoutError:
            continue
    link.close()


def listen(address: str) -> None:
    """A busy subscriber: it reads one message in a while."""
    with Listener(address, ("restored", "raw")) as listener:
        while listener.next(0.2) is None:
            pass
        say("heard")
        while True:
            time.sleep(1.0)
            listener.next(0.2)


def tap(address: str) -> None:
    """A tap that has always more to send."""
    tapped = open_tap(address)
    image = np.zeros((64, 64), np.uint16)
    for t in itertools.count():
        tapped(image, {"Axes": {"time": t, "z": 0}})
        if t == 100:
            say("sending")
        time.sleep(0.001)


def receive(seconds: str) -> None:
    """A daemon that is busy: it asks for a frame, and is away, until it is ordered to ask for all that is there."""
    remote = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run")
    say(remote.address)
    while remote.next_event(0.1) is None:
        pass
    say("away")
    time.sleep(float(seconds))
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        remote.next_event(0.1)
    remote.close()
    say("alive")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    globals()[sys.argv[1]](*sys.argv[2:])
