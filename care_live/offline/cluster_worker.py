"""One worker of a cluster: reads, restores and writes one time point after the other, with one network that stays open.

What it gets and gives is small and pickled by Dask, whose workers run any code of their scheduler anyway: pixels never
pass through it.
"""

from __future__ import annotations

import contextlib
import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from care_live import __version__
from care_live.checksum import crc32c
from care_live.config import RestoreConfig
from care_live.errors import ConfigError, ModelError, RestoreError, SourceError, VolumeMemoryError
from care_live.freed_memory import keep_freed_memory
from care_live.images import NetworkInUse, VolumeKey
from care_live.model.card import ModelCard
from care_live.offline.channel_engines import networks_of
from care_live.offline.computed_with import VERSIONS, ComputedWith, other_versions, versions
from care_live.offline.handed_out import UnitsDone, do_units
from care_live.offline.input_trace import checksums_of
from care_live.offline.judged_results import Results, judged, restored_of
from care_live.offline.named_networks import NamedNetworks, Networks
from care_live.offline.opened_network import OpenedNetwork
from care_live.offline.range_history import RangeHistory
from care_live.offline.settings import what_shapes_the_result
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.recorded import Recording, open_recording
from care_live.store.shared_writer import SharedRun, WrittenVolume, write_raw, write_restored
from care_live.trust.references import KnownError, PositionChannel, References


@dataclass(frozen=True, slots=True)
class AskedNetwork:
    """What restores on every worker; each path is the same on all machines, and leads to the same bytes."""

    model: Path
    sha256: str
    config: RestoreConfig
    camera: str | None
    """Checksum of the camera file; None: the config names no file."""
    cards: str
    """Checksum of the networks' cards: that of a foreign network lies in a file of its own."""
    care_live: str = __version__
    """Of the command."""

    def opened(self) -> Networks:
        """Return the network, open.

        Raises
        ------
        ModelError
            The network on this machine is another one, or must not run.
        ConfigError
            The camera file on this machine, or care_live, is another one.
        """
        here = f"on worker {platform.node()}"
        if self.care_live != __version__:
            raise ConfigError(
                f"care_live is {__version__} {here}, {self.care_live} where the command runs: install the same"
            )
        if what_shapes_the_result(self.config)["camera"] != self.camera:
            raise ConfigError(f"the camera file {self.config.camera} {here} is not the one that the command began with")
        opened = NamedNetworks(self.config) if self.config.channel else OpenedNetwork(self.model, self.config)
        if opened.identity.sha256 != self.sha256:
            raise ModelError(f"{self.model} {here} is another network than the one that was asked for")
        if checksum_of(opened.cards) != self.cards:
            raise ModelError(f"the card of {self.model} {here} is another one than that of the command")
        return opened


def checksum_of(cards: Sequence[ModelCard]) -> str:
    """Return what names the cards of networks on another machine, too."""
    return f"{crc32c(''.join(card.model_dump_json() for card in cards).encode()):08x}"


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """One time point of one data set; every path is the same on all machines."""

    asked: AskedNetwork
    computed_with: ComputedWith
    source: Path | str
    axes: str | None
    run: SharedRun
    run_id: str
    time_point: TimePoint
    folder: str
    """Of its stage position, below each product."""
    keep_raw: bool
    stored: frozenset[VolumeKey]
    """Raw volumes of this time point that the run has already."""
    known: Mapping[PositionChannel, KnownError] = field(default_factory=dict)
    """What references have shown before this session, or before what the time point waits for."""


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What is on the disk now, raw volumes first."""

    written: tuple[WrittenVolume, ...]
    networks: tuple[NetworkInUse, ...]
    """With their cards, and what was measured on this worker."""
    error: str = ""
    """Why nothing was restored; another time point may be."""
    known: Mapping[PositionChannel, KnownError] = field(default_factory=dict)
    """What references have shown so far, this time point's own included."""
    remarks: tuple[str, ...] = ()
    """What may make this worker's volumes differ from those of others."""


def restore_time_points(tasks: Sequence[WorkerTask], before: UnitsDone | None = None) -> UnitsDone:
    """Restore time points, in whichever thread the worker runs it: one after the other.

    Parameters
    ----------
    before : of the newest time point before them that has references; None: this session has restored no such one

    Raises
    ------
    ModelError, ConfigError
        See `AskedNetwork.opened`.
    StoreError
        The disk is full or gone, or another result has taken the place of this one.
    """
    with _LOCK:
        return do_units(lambda task: _worker.restore(task, _known(task, before)), tasks)


def _known(task: WorkerTask, before: UnitsDone | None) -> Mapping[PositionChannel, KnownError]:
    if before is None:
        return task.known
    shown: WorkerResult = before.results[-1]
    return shown.known


def choose_for_all(asked: AskedNetwork, dtype: str, before: ComputedWith | None = None) -> ComputedWith:
    """Return what runs the network here; all workers then run it so, since another provider gives other last bits.

    Parameters
    ----------
    before : what was chosen when the result was begun; this adds the versions here

    Raises
    ------
    ModelError, ConfigError
        See `AskedNetwork.opened`.
    """
    with _LOCK:
        network = _worker.network(asked)
        return network.computed_with(dtype) if before is None else replace(before, versions=versions())


class _Worker:
    """Keeps the network and the last data set open."""

    def __init__(self) -> None:
        self._network: Networks | None = None
        self._asked: AskedNetwork | None = None
        self._source: tuple[Path | str, str | None, str] | None = None
        self._open = contextlib.ExitStack()

    def restore(self, task: WorkerTask, known: Mapping[PositionChannel, KnownError]) -> WorkerResult:
        network = self.network(task.asked)
        try:
            recording, time_points, history = self._data_set_of(task)
        except SourceError as error:
            return WorkerResult((), (), str(error), known)
        plan = recording.contents.plan
        references = References(plan)
        references.know(known)
        engine = network.engine(plan.dtype, task.computed_with, channels=plan.channels)
        networks = networks_of(engine)
        history.bring(engine, task.time_point)
        try:
            results = restored_of(time_points, task.time_point, engine)
            results = judged(time_points, task.time_point, results, engine=engine, references=references)
        except (SourceError, RestoreError) as error:
            history.failed(engine, task.time_point)
            return WorkerResult((), networks, str(error), known)
        history.restored(task.time_point)
        try:
            written, remarks = tuple(_written(task, results)), _remarks(task.computed_with)
            return WorkerResult(written, networks, known=references.known, remarks=remarks)
        except VolumeMemoryError as error:
            return WorkerResult((), networks, str(error), references.known)

    def network(self, asked: AskedNetwork) -> Networks:
        """Return the network, opened where it is not open already: what is open stays as its files were."""
        if self._network is None or self._asked != asked:
            keep_freed_memory()
            self._network = self._source = None  # what the last network has learnt of it is not the new one's
            self._network, self._asked = asked.opened(), asked
        return self._network

    def _data_set_of(self, task: WorkerTask) -> tuple[Recording, TimePoints, RangeHistory]:
        if self._source != (task.source, task.axes, task.run_id):
            self._open.close()
            self._source = None
            recording = _opened(task)
            self._open.callback(recording.close)
            time_points = TimePoints(recording, run_id=task.run_id)
            if self._network is not None:
                plan = recording.contents.plan
                self._network.engine(plan.dtype, task.computed_with, channels=plan.channels).memories = {}
            self._data_set = recording, time_points, RangeHistory(time_points)
            self._source = (task.source, task.axes, task.run_id)
        return self._data_set


def _opened(task: WorkerTask) -> Recording:
    """Open a data set that the command could open.

    Raises
    ------
    SourceError
        It can't be opened here, or not any more.
    """
    try:
        return open_recording(task.source, axes=task.axes, any_numbers=True)
    except (SourceError, ConfigError) as error:
        raise SourceError(f"{error} (on worker {platform.node()})") from error


def _remarks(chosen: ComputedWith) -> tuple[str, ...]:
    lines = other_versions({VERSIONS: chosen.versions})
    return tuple(f"worker {platform.node()}: {line}" for line in lines)


def _written(task: WorkerTask, results: Results) -> Iterator[WrittenVolume]:
    for volumes, _ in results:
        for volume in volumes:
            if task.keep_raw and volume.key not in task.stored:
                yield write_raw(task.run, task.folder, volume)
    for volumes, restored in results:
        for one in restored:
            crcs = () if task.keep_raw else checksums_of(volumes, one.sources)
            yield write_restored(task.run, task.folder, one, sources_crc32c=crcs)


_LOCK = threading.Lock()
_worker = _Worker()
