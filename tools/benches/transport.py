"""What carries a volume to a worker on another machine and a result of the same size back: our link, or Dask.

A volume of 64 MiB goes to another process over TCP and comes back, by each way in turns: ZeroMQ with CURVE keys through
the daemon's door, the same without keys, and Dask by `scatter` and `gather` straight to the worker, and by an actor.
There is no network in between but the machine's own: what is measured is what each costs, not what a cable carries.

    python tools/bench.py transport [--mib 64] [--rounds 9] [--json F]
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benches._pairs import say
from benches._spent import cpu_s
from care_live.offline.dask_client import connect
from care_live.wire import keys
from care_live.wire.relay import Budget
from care_live.wire.sockets import Sockets, new_pair

Volume = NDArray[np.uint16]
RoundTrip = Callable[[Volume], Volume]
WAIT_S = 60.0


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="transport", description=__doc__)
    parser.add_argument("--mib", type=int, default=64, help="a volume, there and back")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args(arguments)
    volume = np.random.default_rng(0).integers(90, 900, (asked.mib << 20) // 2).astype(np.uint16)
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="transport-")))
        ways: dict[str, RoundTrip] = {
            "ours_curve": opened.enter_context(by_our_link(folder, locked=True)),
            "ours_plain": opened.enter_context(by_our_link(folder, locked=False)),
        }
        client = opened.enter_context(connect(1))
        (worker,) = client.scheduler_info()["workers"]
        actor = client.submit(Echo, actor=True).result()
        ways["dask_direct"] = lambda sent: _by_scatter(client, worker, sent)
        ways["dask_actor"] = lambda sent: actor.back(sent).result()
        return _compared(ways, volume, asked.rounds)


def _compared(ways: dict[str, RoundTrip], volume: Volume, rounds: int) -> dict[str, float]:
    own = psutil.Process()
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first one connects, and does not count
        for name, there_and_back in ways.items():
            processes = [own, *own.children(recursive=True)]
            begun, cpu_before = time.perf_counter(), cpu_s(processes)
            back = there_and_back(volume)
            took_s, cpu_took_s = time.perf_counter() - begun, cpu_s(processes) - cpu_before
            if not np.array_equal(back, volume):
                raise RuntimeError(f"{name} has changed the volume")
            if number:
                wall[name].append(took_s / 2)
                cpu[name].append(cpu_took_s / 2)
    figures = {}
    for name in ways:
        say(f"{name}: {statistics.median(wall[name]):.3f} s each way, CPU {statistics.median(cpu[name]):.3f} s")
        figures |= {
            f"{name}_s_each_way": round(statistics.median(wall[name]), 4),
            f"{name}_s_each_way_best": round(min(wall[name]), 4),
            f"{name}_cpu_s_each_way": round(statistics.median(cpu[name]), 4),
        }
    return figures


@contextlib.contextmanager
def by_our_link(folder: Path, *, locked: bool) -> Iterator[RoundTrip]:
    """Give a round trip through a router behind a door, as the daemon's ports are, to a dealer in another process."""
    daemon, worker = new_pair(), new_pair()
    allowed = folder / f"allowed-{locked}"
    keys.allow(allowed, worker.public, "worker", "operator")
    server = keys.ServerKeys(daemon, keys.AllowList(allowed)) if locked else None
    client = keys.ClientKeys(worker, daemon.public) if locked else None
    with Sockets(server=server) as hub:
        router = hub.bind(
            "router", "tcp://127.0.0.1:0", max_message_bytes=1 << 31, budget=Budget(bytes_per_s=None, stuck_s=WAIT_S)
        )
        process = multiprocessing.get_context("spawn").Process(target=echo, args=(router.address, client), daemon=True)
        process.start()

        def received() -> Any:
            deadline = time.monotonic() + WAIT_S
            while (message := router.receive()) is None:
                hub.poll(1.0)
                if time.monotonic() > deadline:
                    raise TimeoutError("the worker is silent")
            return message

        peer = received().peer

        def there_and_back(volume: Volume) -> Volume:
            if not router.send([b"work", volume], to=peer):
                raise ConnectionError("the worker does not take it")
            return np.frombuffer(received().parts[1], np.uint16)

        try:
            yield there_and_back
        finally:
            router.send([b"end"], to=peer)
            process.join(WAIT_S)


def echo(address: str, client: keys.ClientKeys | None) -> None:
    """Send back what comes, until the end is said; runs in a process of its own."""
    with Sockets(client=client) as hub:
        dealer = hub.connect("dealer", address)
        dealer.send([b"ready"])
        while True:
            hub.poll(1.0)
            if (message := dealer.receive()) is None:
                continue
            if bytes(message.parts[0]) == b"end":
                return
            dealer.send([b"done", message.parts[1]])


class Echo:
    """A Dask actor that gives back what comes."""

    def back(self, volume: Volume) -> Volume:
        return volume


def same(volume: Volume) -> Volume:
    return volume


def _by_scatter(client: Any, worker: str, volume: Volume) -> Volume:
    there = client.scatter(volume, workers=[worker], direct=True, hash=False)
    back = client.submit(same, there, workers=[worker], pure=False)
    found: Volume = client.gather(back, direct=True)
    return found
