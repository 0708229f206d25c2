"""The daemon's status address, as a client asks it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from care_live.daemon.health import Health
from care_live.daemon.run_metrics import DaemonStatus
from care_live.daemon.status_server import ConnectionLimits

LIMITS = ConnectionLimits(connections=4, life_s=60.0, silence_s=60.0)


def ask(address: str, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@contextmanager
def serving(orders: list[object], limits: ConnectionLimits) -> Iterator[Health]:
    def swap(wanted: object) -> str:
        orders.append(wanted)
        return "swapping"

    served = Health("127.0.0.1:0", DaemonStatus, lambda: True, {"/swap": swap}, limits=limits)
    served.start()
    try:
        yield served
    finally:
        served.stop()
