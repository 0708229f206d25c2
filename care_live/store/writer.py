"""The last stage: volumes onto the disk, each acknowledged only when it is safe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from care_live import __version__
from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import NetworkInUse, NotRestored, Restored, RunEnded, RunStarted, StateChanged, Volume, VolumeKey
from care_live.pyramid import combine_of
from care_live.recorded.run_records import (
    ModelNoted,
    NotRestoredNoted,
    RawStored,
    Record,
    RestoredStored,
    Retracted,
    RunEndNoted,
    RunResumed,
    StateNoted,
    StoredArray,
    StoredProduct,
    to_json,
)
from care_live.store.claim import Claim, claim_run
from care_live.store.collection import Collection, products_of
from care_live.store.disk import Disk, look, too_little
from care_live.store.fsync import free_bytes, translated
from care_live.store.quarantine import set_aside, sweep
from care_live.store.raw_codec import CodecPicker
from care_live.store.reader import RunReader
from care_live.store.rounding import keep_mantissa_bits
from care_live.store.zarr_arrays import import_zarr
from care_live.store.zarr_images import ImageGroup
from care_live.wire.codec import record_of


def open_run(
    config: StoreConfig, started: RunStarted, *, claim: Claim | None = None, resume: bool = False
) -> RunWriter:
    """Create the run's folder ``directory/RUN_ID``, or go on in it.

    Parameters
    ----------
    claim : what `claim_run` gave, where the run was taken before; the writer closes it, also when this raises
    resume : go on even where the run has finished; a claim has decided that already

    Raises
    ------
    StoreError
        As `claim_run`, or the run is of another acquisition.
    """
    import_zarr()  # the first volume must not wait for it
    claim = claim or claim_run(config, started.run_id, resume=resume)
    try:
        return RunWriter(claim, config, started)
    except BaseException:
        claim.close()
        raise


class RunWriter:
    """Writes one run. Owned by one thread; made by `open_run`.

    A volume is stored once its shard is synced and then its journal line is. Raw volumes are lossless, restored
    ones keep ``restored_mantissa_bits`` of float32. A raw volume is never replaced; a restored one is retracted
    first, so that a crash in between leaves none instead of a wrong one.
    """

    def __init__(self, claim: Claim, config: StoreConfig, started: RunStarted) -> None:
        self.path, self._config, self._claim = claim.path, config, claim
        self._ledger, self._journal = claim.ledger, claim.journal
        self._codecs = CodecPicker(config.codec)
        self._began_s, self._written_bytes = time.monotonic(), 0
        self._failed_raw: set[VolumeKey] = set()
        """Raw volumes that could not be stored; this writer left their shards, perhaps whole, where they are."""
        self.set_aside: tuple[Path, ...] = ()
        """Raw files that the journal did not acknowledge when this writer came; now in the quarantine."""
        self.n_incomplete = len(self._ledger.incomplete)
        """Raw volumes that lacked planes when this writer came; they stay so, since raw is never replaced."""
        self._begin(started)

    def _begin(self, started: RunStarted) -> None:
        now = self._claim.refuse_other(started)
        if self._ledger.began is None:
            self._note(now)
        else:
            self.set_aside = sweep(self.path, self._ledger)
            self._note(RunResumed(care_live=__version__, at_us=now.at_us, tap=now.tap))
        assert self._ledger.began is not None
        self._collection = Collection(self.path, self._ledger.began, mantissa_bits=self._config.restored_mantissa_bits)
        self._doubt_provisional()

    def _doubt_provisional(self) -> None:
        """What was provisional when the last writer stopped is never confirmed."""
        detail = "the daemon stopped before the volume's hardware sequence ended"
        for key in [key for key, state in self._ledger.states.items() if state == "provisional"]:
            self._note(StateNoted(key=key, state="suspect", detail=detail), sync=False)

    def write_raw(self, volume: Volume) -> None:
        """Store a raw volume; when this returns, no crash can take it.

        Raises
        ------
        StoreError
            The disk is full, missing or broken, or this volume is stored already. It does not count as stored; all
            that was stored before stays readable, and it or the next volume may be tried.
        """
        key = volume.key
        if key in self._ledger.raw:
            raise StoreError(f"raw volume {tuple(key)} of {self.path} is stored already; use a new run_id")
        if self.disk().space == "none":
            raise StoreError(self._too_little(f"raw volume {tuple(key)}", self._config.keep_free_mib / 2))
        try:
            array = self._put("raw", key, volume.pixels, volume.voxel_size_um)
            self._note(RawStored.of(volume, array))
        except StoreError:
            self._failed_raw.add(key)
            raise
        self._failed_raw.discard(key)
        self._written_bytes += array.file_bytes

    def write_restored(
        self, restored: Restored, *, age_s: float | None = None, sources_crc32c: tuple[int, ...] = ()
    ) -> None:
        """Store all maps of a restored volume, or none; replaces an older one.

        Parameters
        ----------
        age_s : since its last plane; None: it was not restored live
        sources_crc32c : checksum of each source that the run does not store

        Raises
        ------
        StoreError
            The disk is full, missing or broken, or less than ``keep_free_mib`` is free: shed it, raw goes on.
        """
        key = restored.key
        if self.disk().space != "enough":
            raise StoreError(self._too_little(f"restored volume {tuple(key)}", self._config.keep_free_mib))
        if key in self._ledger.restored:
            before = self._ledger.restored[key].arrays
            self._note(Retracted(key=key))
            self._remove_other_maps(restored, before)
        try:
            arrays = self._put_products(restored)
            bits = self._config.restored_mantissa_bits
            self._note(
                RestoredStored.of(restored, arrays, mantissa_bits=bits, age_s=age_s, sources_crc32c=sources_crc32c)
            )
        except StoreError:
            self._take_back(restored)
            raise
        self._written_bytes += sum(array.file_bytes for array in arrays.values())

    def note(self, event: StateChanged | NotRestored | RunEnded) -> None:
        """Write down what became of volumes, or of the run.

        States are not synced one by one: one hardware sequence may confirm a thousand volumes at once, and what a
        power cut takes of it is suspect again at the next start.

        Raises
        ------
        StoreError
            The journal cannot be written.
        """
        match event:
            case StateChanged():
                if event.key in self._ledger.raw:
                    self._note(record_of(StateNoted, event), sync=False)
            case NotRestored():
                self._note(record_of(NotRestoredNoted, event), sync=False)
            case RunEnded():
                self._note(record_of(RunEndNoted, event, restoring=bool(self._ledger.raw_only())))

    def complete(self) -> None:
        """Note that nothing is left to do in a run that has ended; from now on only `resume` goes on with it.

        Raises
        ------
        StoreError
            The journal cannot be written.
        """
        ended = self._ledger.ended
        if ended is not None and ended.restoring:
            self._note(msgspec.structs.replace(ended, restoring=False))

    def describe_network(self, network: NetworkInUse) -> None:
        """Write a network's card and its channels into the journal, and beside every volume that it will restore."""
        name, sha256 = network.identity.name, network.identity.sha256
        if not self._ledger.restores(sha256, network.channels):  # new, or back after another one
            self._note(ModelNoted(name=name, sha256=sha256, card=dict(network.card), channels=network.channels))
        self._collection.describe_network(network)

    def reader(self) -> RunReader:
        """Return a reader for one other thread, which sees what this writer has stored."""
        return RunReader(self.path, ledger=self._ledger)

    def raw_keys(self) -> list[VolumeKey]:
        """Return the raw volumes that are safe, oldest first."""
        return sorted(self._ledger.raw)

    def raw_only(self) -> list[VolumeKey]:
        """Return the raw volumes of which nothing was restored, oldest first; skipped and failed ones too."""
        return self._ledger.raw_only()

    def not_restored(self) -> dict[VolumeKey, NotRestored]:
        """Return why volumes were skipped, or failed, so far."""
        return dict(self._ledger.not_restored)

    def raw_records(self) -> Iterator[RawStored]:
        """Give what is known of each raw volume that is safe."""
        return self._ledger.raw_records()

    def newest_measured(self) -> dict[tuple[int, int], RestoredStored]:
        """Return the newest volume of which references showed the error, by position and channel."""
        return self._ledger.newest_measured()

    def disk(self) -> Disk:
        """Return how much is free, and how long that lasts.

        Raises
        ------
        StoreError
            The run's folder does not exist any more.
        """
        elapsed_s = time.monotonic() - self._began_s
        rate = self._written_bytes / elapsed_s if elapsed_s else 0.0
        return look(self.path, self._config.keep_free_mib, bytes_per_s=rate)

    def close(self) -> None:
        """Release the run; another writer may go on."""
        self._claim.close()

    def _put(
        self, product: StoredProduct, key: VolumeKey, pixels: NDArray[Any], voxel_size_um: tuple[float, float, float]
    ) -> StoredArray:
        self._journal.must_be_ours()
        group = self._collection.image(product, key, pixels, voxel_size_um)
        if product == "raw":
            self._make_way(group, key, pixels)
        else:
            group.remove(key.t, key.c, len(pixels))  # what was retracted
        codecs = self._codecs if product == "raw" else None
        return group.write(key.t, key.c, pixels, codecs=codecs, combine=combine_of(product))

    def _put_products(self, restored: Restored) -> dict[StoredProduct, StoredArray]:
        bits = self._config.restored_mantissa_bits
        return {
            product: self._put(product, restored.key, keep_mantissa_bits(pixels, bits), voxel_size_um)
            for product, (pixels, voxel_size_um) in products_of(restored).items()
        }

    def _remove_other_maps(self, restored: Restored, before: Mapping[StoredProduct, StoredArray]) -> None:
        """Remove what was retracted and is not written anew: not every restoration of a volume has the same maps."""
        key = restored.key
        for product in before.keys() - products_of(restored).keys():
            self._collection.existing(product, key.p).remove(key.t, key.c, before[product].shape[0])

    def _make_way(self, group: ImageGroup, key: VolumeKey, pixels: NDArray[Any]) -> None:
        """Set aside what lies where a raw volume belongs, unless this writer left the same volume when it failed.

        That one is replaced in one step, so that it always exists.
        """
        with translated(f"cannot make way for raw volume {tuple(key)} of {self.path}", self.path):
            there = [file for file in group.files(key.t, key.c, len(pixels)) if file.exists()]
            if there and not (key in self._failed_raw and group.has(key.t, key.c, pixels)):
                self.set_aside += tuple(there)
                set_aside(self.path, there)

    def _take_back(self, restored: Restored) -> None:
        """Delete what the journal will not acknowledge; where even that fails, the next start does it."""
        if self._journal.is_torn:
            return  # the line may stand there after all
        key = restored.key
        for product, (pixels, _) in products_of(restored).items():
            with contextlib.suppress(StoreError):
                self._collection.existing(product, key.p).remove(key.t, key.c, len(pixels))

    def _note(self, record: Record, *, sync: bool = True) -> None:
        self._journal.append(to_json(record), sync=sync)
        self._ledger.apply(record)

    def _too_little(self, what: str, wanted_mib: float) -> str:
        return f"{what} not stored: {too_little(free_bytes(self.path), wanted_mib)}"
