"""The scheduler of a Dask cluster: a client of it, and what `care-live doctor` looks at."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from care_live.imports import need
from care_live.wire.scheduler_address import address_of, must_answer

ANSWER_S = 4.0
"""Longest wait for an answer."""
_SAME = ("care-live", "distributed")


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """A scheduler that answers, and its workers."""

    address: str
    n_workers: int
    n_with_gpu: int
    """Workers that offer the resource GPU."""
    other_versions: tuple[str, ...]
    """Packages that differ from those of this machine, in words."""


def look(scheduler: str) -> SchedulerState:
    """Ask a scheduler, by its address or by the file that it wrote.

    Raises
    ------
    ConfigError
        The extra is not installed, or there are no certificates for an address of TLS.
    OSError, ValueError, KeyError
        Nothing answers there, or the file is not a scheduler's.
    """
    with client_of(scheduler) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        others = tuple(text for package in _SAME for text in _other_versions(client, package))
        n_with_gpu = sum(bool(worker.get("resources", {}).get("GPU")) for worker in workers.values())
        return SchedulerState(client.scheduler.address, len(workers), n_with_gpu, others)


def version_here(package: str) -> str:
    """Return the version of a package on this machine."""
    return metadata.version(package)


def _other_versions(client: Any, package: str) -> Iterator[str]:
    here = version_here(package)
    found = client.run(metadata.version, package, on_error="return").values()
    there = Counter("none" if isinstance(one, Exception) else str(one) for one in found)
    for version, n in sorted(there.items()):
        if version != here:
            yield f"{package} {version} on {n} of its workers, {here} here"


@contextlib.contextmanager
def client_of(scheduler: str) -> Iterator[Any]:
    """Give a client of a scheduler, by its address or by the file that it wrote."""
    distributed = need("distributed", extra="cluster")
    address = address_of(scheduler)
    must_answer(address, ANSWER_S)
    with distributed.Client(address, timeout=ANSWER_S, set_as_default=False) as client:
        yield client
