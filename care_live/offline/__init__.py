"""Offline work, as functions that a script and the commands call alike: arrays, files, archives, finished runs.

The same rooms as live: a recording's planes are assembled, restored and stored as those of a camera are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, Unpack

from care_live.offline.archive import RestoreReport, restore_archive
from care_live.offline.data_sets import ArchivePlan, plan_archive
from care_live.offline.estimate import Estimate, estimate
from care_live.offline.named_networks import ByChannel, NamedNetworks, Networks, open_networks
from care_live.offline.opened_network import OpenedNetwork, RestoredArray, open_network
from care_live.offline.run_output import LocalRestorer, Restorer
from care_live.offline.settings import NetworkSettings
from care_live.store import RunReader

Workers: TypeAlias = int | str | Path
"""Processes on this machine, the address of a Dask scheduler, or the file in which one wrote its address."""

__all__ = [
    "ArchivePlan",
    "ByChannel",
    "Estimate",
    "NamedNetworks",
    "NetworkSettings",
    "OpenedNetwork",
    "RestoreReport",
    "RestoredArray",
    "estimate",
    "open_network",
    "open_networks",
    "open_run",
    "plan_archive",
    "restore",
    "restore_archive",
    "restorer_of",
]


def restore(  # noqa: PLR0913 - one parameter for each option of the command
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | ByChannel | None = None,
    axes: str | None = None,
    keep_raw: bool = True,
    as_tiff: bool = False,
    pyramid: bool = True,
    workers: Workers = 0,
    progress: bool = True,
    **settings: Unpack[NetworkSettings],
) -> RestoreReport:
    """Restore data sets on the disk. Interrupted or killed, the same call goes on where it was.

    Parameters
    ----------
    inputs : data sets (TIFF, NDTiff, OME-Zarr, a run), folders of them, or patterns
    output : of one data set an OME-TIFF where it ends with .tif, else a run in OME-Zarr; of several the folder of
        these; or an address, such as ``s3://bucket/restored``
    model : ONNX network; None: the shipped worm network. Or several, by the name of a channel or of those that are read
        together, as ``{"GFP": "nuclei.onnx", ("R", "G"): "joint.onnx", "BF": None}``; others pass through as they are
    axes : of plain TIFF stacks, letters of TPCZYX, such as ``"TZYX"``; of several kinds of stacks, ``"ZYX,TZYX"``
    keep_raw : store the raw volumes beside the restored ones
    as_tiff : several results are OME-TIFFs
    pyramid : store coarser levels of an OME-Zarr, halved in y and x until they have at most 512 px, for viewers
    workers : a number of processes on this machine that share the work; or a Dask cluster, by its scheduler's address
        (``"tcp://head:8786"``) or the file that this wrote, where all paths must be the same. 0: this process works. A
        script that starts processes guards its call with ``if __name__ == "__main__":``, since each imports it
    progress : show a bar on a terminal and in a notebook
    **settings : see `NetworkSettings`

    Returns
    -------
    What was restored and what was not: a data set, or a time point, that cannot be read does not stop the others.

    Raises
    ------
    ConfigError
        An input names nothing, a setting is wrong, or the output holds results of another network or other settings.
    ModelError
        The network must not run.
    SourceError
        The only input is damaged.
    StoreError
        Another process writes there, or the disk is full.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    plan = plan_archive(given, output, axes=axes, keep_raw=keep_raw, as_tiff=as_tiff, pyramid=pyramid)
    network = open_networks(model, **settings) if isinstance(model, Mapping) else open_network(model, **settings)
    with restorer_of(network, workers) as restorer:
        return restore_archive(plan, network, restorer=restorer, progress=progress)


@contextlib.contextmanager
def restorer_of(network: Networks, workers: Workers = 0) -> Iterator[Restorer]:
    """Give what restores: this process, its workers, or those of a cluster; see `restore`.

    Raises
    ------
    ConfigError
        `distributed` is not installed, or no scheduler or worker answers.
    """
    if not workers:
        yield LocalRestorer(network)
        return
    from care_live.offline.cluster import ClusterRestorer
    from care_live.offline.dask_client import connect

    with connect(workers) as client:
        yield ClusterRestorer(network, client, own_workers=workers if isinstance(workers, int) else 0)


def open_run(path: str | Path) -> RunReader:
    """Open a run, finished or still being written, to read what its journal acknowledges.

    Parameters
    ----------
    path : its folder

    Raises
    ------
    StoreError
        There is no run.

    Examples
    --------
    >>> run = care_live.open_run("runs/2026-11-29")
    >>> mean = run.read("restored", run.keys("restored")[0])
    """
    return RunReader(Path(path))
