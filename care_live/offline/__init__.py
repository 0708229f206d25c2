"""Offline work, as functions that a script and the commands call alike: arrays, files, archives, finished runs.

The same rooms as live: a recording's planes are assembled, restored and stored as those of a camera are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from care_live.offline.archive import ArchivePlan, RestoreReport, plan_archive, restore_archive
from care_live.offline.estimate import Estimate, estimate
from care_live.offline.opened_network import OpenedNetwork, RestoredArray, open_network
from care_live.offline.settings import NetworkSettings
from care_live.store import RunReader

__all__ = [
    "ArchivePlan",
    "Estimate",
    "NetworkSettings",
    "OpenedNetwork",
    "RestoreReport",
    "RestoredArray",
    "estimate",
    "open_network",
    "open_run",
    "plan_archive",
    "restore",
    "restore_archive",
]


def restore(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | None = None,
    axes: str | None = None,
    keep_raw: bool = True,
    as_tiff: bool = False,
    progress: bool = True,
    **settings: Unpack[NetworkSettings],
) -> RestoreReport:
    """Restore data sets on the disk. Interrupted or killed, the same call goes on where it was.

    Parameters
    ----------
    inputs : data sets (TIFF, NDTiff, OME-Zarr, a run), folders of them, or patterns
    output : of one data set an OME-TIFF where it ends with .tif, else a run in OME-Zarr; of several the folder of these
    model : ONNX network; None: the shipped worm network
    axes : of plain TIFF stacks, letters of TPCZYX, such as ``"TZYX"``
    keep_raw : store the raw volumes beside the restored ones
    as_tiff : several results are OME-TIFFs
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
    plan = plan_archive(given, Path(output), axes=axes, keep_raw=keep_raw, as_tiff=as_tiff)
    return restore_archive(plan, open_network(model, **settings), progress=progress)


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
