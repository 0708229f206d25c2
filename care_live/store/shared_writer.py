"""One run whose volumes other processes put on the disk: they write the shards, its writer alone acknowledges them.

Arrays are made, as large as they will be, before the first volume comes, so that no two processes write the metadata of
one array. A process that dies leaves shards that no line of the journal acknowledges: the same as after any crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import Restored, RunStarted, Volume
from care_live.pyramid import combine_of
from care_live.recorded.journal_lines import JOURNAL_NAME, checksum_in
from care_live.recorded.run_records import STORED_PRODUCTS, RawStored, RestoredStored, StoredArray, StoredProduct
from care_live.store import ome
from care_live.store.claim import Claim
from care_live.store.collection import products_of
from care_live.store.disk import look, too_little
from care_live.store.fsync import translated
from care_live.store.rounding import keep_mantissa_bits
from care_live.store.writer import RunWriter
from care_live.store.zarr_arrays import import_zarr
from care_live.store.zarr_images import ImageGroup

EXACT_BITS = 23
"""All mantissa bits of float32: offline there is time, and people compare."""


@dataclass(frozen=True, slots=True)
class SharedRun:
    """A run as those know it that write its shards."""

    path: Path
    beginning: str
    """Checksum of the journal's first line: another one means that another run has taken this one's place."""

    def must_be_there(self) -> None:
        """Refuse to write into what is another run by now, or has too little space.

        What was asked for may be done long after the one that asked is gone: a worker does not stop in between.

        Raises
        ------
        StoreError
            The run was replaced or removed, or the disk is full.
        """
        if beginning_of(self.path) != self.beginning:
            raise StoreError(f"volume not stored: another result has taken the place of {self.path} since it began")
        _refuse_full(self.path)


def beginning_of(run: Path) -> str:
    """Return what tells a run from any other at its place: its journal's first line names the moment it began.

    Raises
    ------
    StoreError
        There is no run.
    """
    with translated(f"cannot read the journal of {run}", run), (run / JOURNAL_NAME).open("rb") as journal:
        return checksum_in(journal.read(64))


@dataclass(frozen=True, slots=True)
class WrittenVolume:
    """A volume whose shards are on the disk, synced, and that nothing acknowledges yet."""

    record: RawStored | RestoredStored
    windows: Mapping[StoredProduct, ome.Window]
    """Contrast of each of its images."""
    voxel_sizes_um: Mapping[StoredProduct, tuple[float, float, float]]
    """(z, y, x) of each of its images."""
    half_written: tuple[Path, ...] = ()
    """Files that a process left that was ended while it wrote this volume."""


@dataclass(frozen=True, slots=True)
class ImageExtent:
    """How large an image will be."""

    n_times: int
    n_channels: int
    first_shape: tuple[int, int, int]
    """(z, y, x) of the first volume, of which chunks are cut."""
    depth: int
    """Most planes of any volume."""
    dtype: str


class SharedRunWriter(RunWriter):
    """Acknowledges what other processes have written; made by `open_shared_run`."""

    @property
    def shared(self) -> SharedRun:
        """The run, for those that write its shards."""
        return SharedRun(self.path.resolve(), beginning_of(self.path))

    def make_images(self, extents: Mapping[tuple[StoredProduct, int], ImageExtent]) -> None:
        """Make each image, by product and stage position, as large as it will be.

        Raises
        ------
        StoreError
            The disk is full, gone or read-only.
        """
        for (product, p), extent in extents.items():
            image = self._collection.make(product, p, extent.first_shape, extent.dtype)
            image.grow(extent.n_times - 1, extent.n_channels - 1, extent.depth)

    def remove_unused_images(self) -> None:
        """Remove the images that no volume came to, also those of an earlier writer: not every volume has every map.

        Raises
        ------
        StoreError
            The disk is gone or read-only.
        """
        used = {(product, key.p) for product in STORED_PRODUCTS for key in self._ledger.keys(product)}
        for product, p in self._collection.places - used:
            self._collection.remove(product, p)

    def adopt(self, written: WrittenVolume) -> None:
        """Acknowledge a volume; when this returns, no crash can take it.

        Raises
        ------
        StoreError
            The journal or an image's metadata cannot be written.
        """
        record = written.record
        for product, window in written.windows.items():
            self._collection.describe(product, record.key, window, written.voxel_sizes_um[product])
        self._note(record)
        for left in written.half_written:
            with contextlib.suppress(OSError):  # a process that was only held up may have it open, or end it now
                left.unlink()


def open_shared_run(started: RunStarted, claim: Claim) -> SharedRunWriter:
    """Open a run of which others write the shards; the claim is closed when this raises.

    Raises
    ------
    StoreError
        The run is of another acquisition, or the disk is full, gone or read-only.
    """
    import_zarr()
    try:
        config = StoreConfig(directory=claim.path.parent, restored_mantissa_bits=EXACT_BITS, codec="zstd")
        return SharedRunWriter(claim, config, started)
    except BaseException:
        claim.close()
        raise


def write_raw(run: SharedRun, folder: str, volume: Volume) -> WrittenVolume:
    """Put a raw volume on the disk, in the image that its run's writer has made.

    Parameters
    ----------
    folder : of its stage position, below the product

    Raises
    ------
    StoreError
        The disk is full, gone or broken, or another run is there by now.
    """
    run.must_be_there()
    group, key = ImageGroup(run.path / "raw" / folder, writable=True), volume.key
    left = group.half_written(key.t, key.c, len(volume.pixels))
    array = group.write(key.t, key.c, volume.pixels)
    windows = {"raw": ome.window("raw", volume.pixels)}
    return WrittenVolume(RawStored.of(volume, array), windows, {"raw": volume.voxel_size_um}, tuple(left))


def write_restored(
    run: SharedRun, folder: str, restored: Restored, *, sources_crc32c: tuple[int, ...] = ()
) -> WrittenVolume:
    """Put all maps of a restored volume on the disk, in the images that its run's writer has made.

    Parameters
    ----------
    sources_crc32c : checksum of each source that the run does not store

    Raises
    ------
    StoreError
        The disk is full, gone or broken, or another run is there by now.
    """
    arrays: dict[StoredProduct, StoredArray] = {}
    windows: dict[StoredProduct, ome.Window] = {}
    left: list[Path] = []
    maps, key = products_of(restored), restored.key
    for product, (pixels, _) in maps.items():
        run.must_be_there()
        kept = keep_mantissa_bits(pixels, EXACT_BITS)
        group = ImageGroup(run.path / product / folder, writable=True)
        left += group.half_written(key.t, key.c, len(kept))
        arrays[product] = group.write(key.t, key.c, kept, combine=combine_of(product))
        windows[product] = ome.window(product, kept)
    record = RestoredStored.of(restored, arrays, mantissa_bits=EXACT_BITS, sources_crc32c=sources_crc32c)
    sizes = {product: one.voxel_size_um for product, one in maps.items()}
    return WrittenVolume(record, windows, sizes, tuple(left))


def _refuse_full(run: Path) -> None:
    keep_free_mib = StoreConfig().keep_free_mib
    disk = look(run, keep_free_mib, bytes_per_s=0.0)
    if disk.space != "enough":
        raise StoreError(f"volume not stored: {too_little(disk.free_bytes, keep_free_mib)}")
