"""A client of Dask: of workers that are started on this machine, or of a scheduler that runs."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from care_live.errors import ConfigError
from care_live.imports import need
from care_live.wire.scheduler_address import address_of, must_answer

CONNECT_S = 60
ANSWER_S = 20
"""So long a scheduler that was there may be away."""
_LOOK_S = 0.1
_LOGGERS = ("asyncio", "distributed.client", "distributed.utils", "distributed.comm", "distributed.core")
"""Each has a level of its own."""
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}
"""What Dask notes of itself 100 times a second takes 2 % of a core in each process; units that last a second need none
of it."""


@contextlib.contextmanager
def connect(workers: int | str | Path) -> Iterator[Any]:
    """Give a client of Dask: of own workers on this machine, or of a scheduler that runs.

    Parameters
    ----------
    workers : number of processes to start here, a scheduler's address such as ``tcp://head:8786``, or the JSON file
        that ``dask scheduler --scheduler-file`` writes

    Raises
    ------
    ConfigError
        The extra is not installed, no scheduler or no worker answers, or there are no certificates for TLS.
    """
    distributed = need("distributed", extra="cluster")
    with contextlib.ExitStack() as opened:
        opened.enter_context(_without_its_log())
        try:
            address = opened.enter_context(_here(distributed, workers)) if isinstance(workers, int) else _there(workers)
            in_time_s = 2 * ANSWER_S  # a client that gives up by itself leaves a thread: we give up before
            client = opened.enter_context(distributed.Client(address, timeout=in_time_s))
            client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            raise ConfigError(f"no Dask worker answers at {workers}: {error}") from error
        yield client


@contextlib.contextmanager
def _here(distributed: Any, workers: int) -> Iterator[str]:
    with need("dask.config", extra="cluster").set(_QUIET):
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
        )
        with cluster:
            yield cluster.scheduler_address


@contextlib.contextmanager
def _without_its_log() -> Iterator[None]:
    """Keep what Dask's client logs away from a person, who gets our words: a lost scheduler is pages of its own."""
    loggers = [logging.getLogger(name) for name in ("distributed", *_LOGGERS)]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)


def _there(workers: str | Path) -> str:
    """Return the address of a scheduler that answers; one that is being started is waited for."""
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            must_answer(address := address_of(workers), ANSWER_S)
            return address
        except (OSError, ValueError, KeyError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)
