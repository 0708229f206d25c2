"""What each of several workers does, for the status."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from care_live.config import RestoreConfig
from care_live.worker.client import RestoreProcess

ABSENT = "no machine yet"


def described(
    workers: Sequence[RestoreProcess],
    configs: Sequence[RestoreConfig],
    n_restored: Mapping[RestoreProcess, int],
    at_work: Collection[RestoreProcess],
) -> tuple[dict[str, Any], ...]:
    """Return a line for each worker; those on other machines have a host, once one is found.

    Parameters
    ----------
    configs : of each worker
    n_restored : volumes, by worker
    at_work : those that restore now
    """
    provider = workers[0].network.provider
    return tuple(
        {
            "worker": number,
            **({"host": worker.supervisor.host} if worker.supervisor.host else {}),
            "device": provider if provider in {"cpu", "openvino"} else f"{provider}:{own.device}",
            "state": state(worker, at_work),
            "restored": n_restored.get(worker, 0),
            "restarts": worker.supervisor.n_restarts,
        }
        for number, (worker, own) in enumerate(zip(workers, configs, strict=True))
    )


def state(worker: RestoreProcess, at_work: Collection[RestoreProcess]) -> str:
    """Return what a worker does, in a word or two."""
    if worker.supervisor.is_absent:
        return ABSENT
    if not worker.supervisor.is_ready:
        return "starting"
    return "restoring" if worker in at_work else "waiting"
