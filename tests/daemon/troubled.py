"""A daemon with a source or a disk that misbehaves: ``python -m tests.daemon.troubled KIND run config.toml …``

The source gives two volumes and a half, then

==============  ===================================================================================
``silent``      nothing more comes, and it does not stop when it is asked to
``hung``        the call for the next event never comes back
``deaf``        as *silent*, and the call that stops it never comes back
``stuck``       it ends well, and the call that closes it never comes back
``broken``      as *stuck*, and the daemon raises what is no error of ours
``slow-disk``   as *silent*, and every sync takes a fifth of a second
``dead-disk``   as *silent*, and every sync hangs from the second volume on
``homeless``    it ends well; none of its planes is in the plan
==============  ===================================================================================
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import ModuleType

from care_live.daemon import ending, run_end
from care_live.daemon import run as daemon_run
from care_live.images import RunEnded, VolumeKey
from tests.make.scripted import Script, Scripted, frames, plan, started

KEYS = [VolumeKey(t) for t in range(3)]
N_LAST = 2
"""Planes of the last volume that come."""


def forever() -> None:
    threading.Event().wait()


def script(kind: str) -> Script:
    homeless = kind == "homeless"
    yield started(plan([VolumeKey(t + 10 * homeless) for t in range(3)]))
    for key in KEYS:
        yield from frames(key, N_LAST if key.t == 2 else None)
    print("all planes came", file=sys.stderr, flush=True)
    while kind in ("silent", "deaf", "slow-disk", "dead-disk"):
        yield None
    while kind == "hung":
        yield forever
    yield RunEnded("finished")


class Troubled(Scripted):
    def __init__(self, kind: str) -> None:
        super().__init__(script(kind), obedient=False)
        self._kind = kind

    def stop(self) -> None:
        if self._kind == "deaf":
            forever()

    def close(self) -> None:
        if self._kind in ("stuck", "broken"):
            forever()


def trouble_disk(kind: str) -> None:
    sync, n_syncs = os.fsync, [0]

    def slowly(descriptor: int) -> None:
        n_syncs[0] += 1
        if kind == "slow-disk":
            time.sleep(0.2)
        if kind == "dead-disk" and n_syncs[0] > 20:
            forever()
        sync(descriptor)

    os.fsync = slowly


def change(module: ModuleType, **names: object) -> None:
    """Set names of a module that it has; another one would change nothing."""
    for name, value in names.items():
        assert hasattr(module, name), name
        setattr(module, name, value)


def main() -> None:
    kind = sys.argv.pop(1)
    if kind.endswith("disk"):
        trouble_disk(kind)
    change(ending, STORE_S=4.0, REPORT_S=4.0)  # a test has not five minutes
    change(run_end, CLOSE_S=4.0)
    change(daemon_run, open_remaining=lambda *_: Troubled(kind))
    if kind == "broken":
        change(daemon_run, shortfalls=lambda *_, **__: 1 / 0)
    from care_live.cli import main as care_live

    care_live()


if __name__ == "__main__":
    main()
