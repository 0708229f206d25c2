"""The last stage: volumes onto the disk, each acknowledged only when it is safe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live import __version__
from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import (
    ModelIdentity,
    NotRestored,
    Restored,
    RunEnded,
    RunStarted,
    StateChanged,
    Volume,
    VolumeKey,
    read_only,
)
from care_live.store.collection import Collection
from care_live.store.disk import Disk, room_of, too_little
from care_live.store.durable import free_bytes, translated
from care_live.store.groups import import_zarr
from care_live.store.journal import Journal
from care_live.store.ledger import Ledger
from care_live.store.lock import RunLock
from care_live.store.records import (
    ModelNoted,
    NotRestoredNoted,
    Product,
    RawStored,
    Record,
    RestoredStored,
    Retracted,
    RunBegan,
    RunEndNoted,
    RunResumed,
    StateNoted,
    StoredArray,
    to_json,
)
from care_live.store.recovery import check_same_run, sweep
from care_live.store.rounding import keep_mantissa_bits


def open_run(config: StoreConfig, started: RunStarted) -> RunWriter:
    """Create the run's folder ``directory/RUN_ID``, or go on in it.

    Raises
    ------
    StoreError
        It cannot be written, another writer is at work in it, its journal is damaged, or it is of another run.
    """
    path = config.directory / started.run_id
    with translated(f"cannot create run folder {path}", path):
        path.mkdir(parents=True, exist_ok=True)
    import_zarr()  # the first volume must not wait for it
    lock = RunLock(path)
    try:
        return RunWriter(path, config, started, lock)
    except BaseException:
        lock.close()
        raise


class RunWriter:
    """Writes one run. Owned by one thread; made by `open_run`.

    A volume is stored once its shard is synced and then its journal line is. Raw volumes are lossless, restored
    ones keep ``restored_mantissa_bits`` of float32. A raw volume is never replaced; a restored one is retracted
    first, so that a crash in between leaves none instead of a wrong one.
    """

    def __init__(self, path: Path, config: StoreConfig, started: RunStarted, lock: RunLock) -> None:
        self.path = path
        self._config = config
        self._lock = lock
        self._ledger = Ledger()
        self._journal = Journal(path)
        self._began_s = time.monotonic()
        self._written_bytes = 0
        try:
            self._ledger.replay(self._journal.records)
            self._begin(started)
        except BaseException:
            self._journal.close()
            raise

    def _begin(self, started: RunStarted) -> None:
        now_us = time.time_ns() // 1000
        if self._ledger.began is None:
            self._note(RunBegan.of(started, care_live=__version__, at_us=now_us))
        else:
            check_same_run(self._ledger.began, started, self.path)
            self._note(RunResumed(care_live=__version__, at_us=now_us))
        assert self._ledger.began is not None
        sweep(self.path, self._ledger)
        self._collection = Collection(self.path, self._ledger.began, mantissa_bits=self._config.restored_mantissa_bits)
        self._doubt_provisional()

    def _doubt_provisional(self) -> None:
        """Nobody will confirm what was provisional when the last writer stopped."""
        detail = "the daemon stopped before the volume's hardware sequence ended"
        for key in [key for key, state in self._ledger.states.items() if state == "provisional"]:
            self._note(StateNoted(key=key, state="suspect", detail=detail), sync=False)

    # -- writing --------------------------------------------------------------------------------------------

    def write_raw(self, volume: Volume) -> None:
        """Store a raw volume; when this returns, no crash can take it.

        Raises
        ------
        StoreError
            The disk is full, gone or broken, or this volume is stored already. Nothing of it is kept; all that
            was stored before stays readable, and the next volume may be tried.
        """
        if volume.key in self._ledger.raw:
            raise StoreError(f"raw volume {tuple(volume.key)} of {self.path} is stored already; use a new run_id")
        if self.disk().room == "none":
            raise StoreError(self._too_little(f"raw volume {tuple(volume.key)}", self._config.keep_free_mib / 2))
        array = self._put("raw", volume.key, volume.pixels, volume.voxel_size_um)
        self._commit(RawStored.of(volume, array), {"raw": array}, volume.key)

    def write_restored(self, restored: Restored, *, sources: Iterable[VolumeKey] = ()) -> None:
        """Store a restored volume with its scale and disagreement, all or none; replaces an older one.

        Parameters
        ----------
        restored : Restored
        sources : keys of the raw volumes it was made from
            Empty: of ``restored.volume`` alone. A network that mixes channels has several.

        Raises
        ------
        StoreError
            The disk is full, gone or broken, or less than ``keep_free_mib`` is free: shed it, raw goes on.
        """
        key = restored.key
        if self.disk().room != "enough":
            raise StoreError(self._too_little(f"restored volume {tuple(key)}", self._config.keep_free_mib))
        if key in self._ledger.restored:
            self._note(Retracted(key=key))
        arrays: dict[Product, StoredArray] = {}
        try:
            for product, pixels in _products(restored).items():
                rounded = keep_mantissa_bits(pixels, self._config.restored_mantissa_bits)
                arrays[product] = self._put(product, key, rounded, restored.voxel_size_um)
        except StoreError:
            self._remove(arrays, key)
            raise
        record = RestoredStored.of(
            restored,
            arrays,
            sources=tuple(sources) or (restored.volume.key,),
            mantissa_bits=self._config.restored_mantissa_bits,
        )
        self._commit(record, arrays, key)

    def note(self, event: StateChanged | NotRestored | RunEnded) -> None:
        """Write down what became of volumes, or of the run.

        States are not synced one by one: one hardware sequence may confirm a thousand volumes at once, and what a
        power cut takes of it is doubted again at the next start.

        Raises
        ------
        StoreError
            The journal cannot be written.
        """
        match event:
            case StateChanged():
                if event.key in self._ledger.raw:
                    self._note(StateNoted.of(event), sync=False)
            case NotRestored():
                self._note(NotRestoredNoted.of(event), sync=False)
            case RunEnded():
                self._note(RunEndNoted.of(event))

    def describe_model(self, identity: ModelIdentity, card: Mapping[str, Any]) -> None:
        """Write a network's card into the journal and beside every volume that it will restore."""
        if identity.sha256 not in self._ledger.models:
            self._note(ModelNoted(name=identity.name, sha256=identity.sha256, card=dict(card)))
        self._collection.describe_model(identity, card)

    # -- reading back ---------------------------------------------------------------------------------------

    def raw_keys(self) -> list[VolumeKey]:
        """Return the raw volumes that are safe, oldest first."""
        return sorted(self._ledger.raw)

    def raw_only(self) -> list[VolumeKey]:
        """Return the raw volumes of which nothing was restored, oldest first; skipped and failed ones too."""
        return self._ledger.raw_only()

    def not_restored(self) -> dict[VolumeKey, NotRestored]:
        """Return why volumes were skipped, or failed, so far."""
        return dict(self._ledger.not_restored)

    def read_raw(self, key: VolumeKey) -> Volume:
        """Return a stored raw volume.

        Raises
        ------
        StoreError
            It is not stored, or its pixels do not match their checksum.
        """
        record = self._ledger.raw.get(key)
        if record is None or self._ledger.began is None:
            raise StoreError(f"run {self.path} has no raw volume {tuple(key)}")
        pixels = read_only(self._collection.read("raw", key, record.array))
        return record.volume(self._ledger.began, pixels, self._ledger.state("raw", key))

    # -- the disk -------------------------------------------------------------------------------------------

    def disk(self) -> Disk:
        """Ask how much is free, and for how long that will do.

        Raises
        ------
        StoreError
            The run's folder is gone.
        """
        free, keep_mib = free_bytes(self.path), self._config.keep_free_mib
        elapsed_s = time.monotonic() - self._began_s
        bytes_per_s = self._written_bytes / elapsed_s if elapsed_s else 0.0
        seconds_left = max(0, free - keep_mib * 2**20) / bytes_per_s if bytes_per_s else None
        return Disk(free, room_of(free, keep_mib), seconds_left)

    def close(self) -> None:
        """Let go of the run; another writer may go on."""
        try:
            self._journal.close()
        finally:
            self._lock.close()

    # -- one commit -----------------------------------------------------------------------------------------

    def _put(
        self, product: Product, key: VolumeKey, pixels: NDArray[Any], voxel_size_um: tuple[float, float, float]
    ) -> StoredArray:
        group = self._collection.image(product, key, pixels, voxel_size_um)
        return group.write(key.t, key.c, pixels)

    def _commit(self, record: Record, arrays: Mapping[Product, StoredArray], key: VolumeKey) -> None:
        try:
            self._note(record)
        except StoreError:
            self._remove(arrays, key)
            raise
        self._written_bytes += sum(array.file_bytes for array in arrays.values())

    def _remove(self, arrays: Mapping[Product, StoredArray], key: VolumeKey) -> None:
        """Take back what the journal will not acknowledge; where even that fails, the next start does it."""
        for product, array in arrays.items():
            with contextlib.suppress(OSError, StoreError):
                self._collection.existing(product, key.p).remove(key.t, key.c, array.shape[0])

    def _note(self, record: Record, *, sync: bool = True) -> None:
        self._journal.append(to_json(record), sync=sync)
        self._ledger.apply(record)

    def _too_little(self, what: str, wanted_mib: float) -> str:
        return f"{what} not stored: {too_little(free_bytes(self.path), wanted_mib)}"


def _products(restored: Restored) -> dict[Product, NDArray[np.float32]]:
    arrays: dict[Product, NDArray[np.float32] | None] = {
        "restored": restored.mean,
        "laplace_scale": restored.laplace_scale,
        "disagreement": restored.disagreement,
    }
    return {product: pixels for product, pixels in arrays.items() if pixels is not None}
