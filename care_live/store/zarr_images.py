"""An OME-Zarr image that grows: one product of one stage position. All that zarr does is done here."""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import StoreError, VolumeMemoryError
from care_live.pyramid import Combine, halved
from care_live.recorded.run_records import StoredArray
from care_live.store.fsync import PARTIAL_SUFFIX, in_one_step, replace_file, sync_up_to, translated, with_retries
from care_live.store.ome import chunk_shape, shard_shape
from care_live.store.raw_codec import BLOSC, IN_METADATA, CodecPicker, RawCodec
from care_live.store.shard_file import ShardLayout, refuse_wild_chunks, write_shard
from care_live.store.zarr_arrays import blosc_of, compressors_of, import_zarr, write_group, zarr_errors


class ImageGroup:
    """One level of an image group, an array with axes TCZYX and one shard a volume, and all that are coarser.

    Parameters
    ----------
    path : Path
        Of the group; its array must exist (see `create`).
    writable : bool
        False: for readers, while a writer may be at work; coarser levels are left alone.
    level : int
        0 is the full resolution, array ``0``; each further one halves y and x once more.

    Raises
    ------
    StoreError
        The array is missing or damaged.
    """

    def __init__(self, path: Path, *, writable: bool = False, level: int = 0) -> None:
        self.path, self._folder = path, path / str(level)
        with zarr_errors(f"cannot open image {path}", path):
            self._array = import_zarr().open_array(store=self._folder, mode="r+" if writable else "r")
            self._must_be_as_made()
            is_there = writable and (path / str(level + 1) / "zarr.json").is_file()
            self._coarser = ImageGroup(path, writable=True, level=level + 1) if is_there else None

    @classmethod
    def create(cls, path: Path, shape: tuple[int, int, int], dtype: str, *, n_coarser: int = 0) -> ImageGroup:
        """Make an image without any volume; `describe` makes it one that viewers open.

        Arrays that are there stay as they are, with their volumes: an earlier attempt may have failed behind them.

        Parameters
        ----------
        n_coarser : levels above the full resolution
        """
        depth, height, width = shape
        for level in range(n_coarser, 0, -1):  # the full resolution comes last: where it is, all are
            coarse = (depth, math.ceil(height / 2**level), math.ceil(width / 2**level))
            cls._make(path / str(level), coarse, dtype)
            with translated(f"cannot sync image {path}", path):
                sync_up_to(path / str(level) / "zarr.json", path.parents[1])
        cls._make(path / "0", shape, dtype)
        return cls(path, writable=True)

    @staticmethod
    def _make(folder: Path, shape: tuple[int, int, int], dtype: str) -> None:
        chunk, made = chunk_shape(shape), dict[str, Any]()
        with zarr_errors(f"cannot create image {folder.parent}", folder):
            import_zarr().create_array(
                store=made,
                shape=(0, 0, *shape),
                dtype=dtype,
                chunks=(1, 1, *chunk),
                shards=(1, 1, *shard_shape(shape, chunk)),
                compressors=compressors_of(dtype),
                fill_value=0,
                dimension_names=("t", "c", "z", "y", "x"),
            )
            if not (folder / "zarr.json").exists():
                folder.mkdir(parents=True, exist_ok=True)
                replace_file(folder / "zarr.json", made["zarr.json"].to_bytes())

    @property
    def dtype(self) -> str:
        """numpy name of its pixels' type."""
        return str(self._array.dtype.name)

    @property
    def n_channels(self) -> int:
        return int(self._array.shape[1])

    def describe(self, attributes: dict[str, Any]) -> None:
        """Write the group's metadata, whole."""
        write_group(self.path, attributes)

    @property
    def n_coarser(self) -> int:
        """How many coarser levels it has, where it is writable."""
        return 0 if self._coarser is None else 1 + self._coarser.n_coarser

    def write(
        self,
        t: int,
        c: int,
        pixels: NDArray[Any],
        *,
        codecs: CodecPicker | None = None,
        combine: Combine = "average",
    ) -> StoredArray:
        """Write a (z, y, x) volume with its coarser levels; when this returns it is on the disk.

        What lies in its place is replaced, or mixed with it where it is deeper: see to it before.

        Parameters
        ----------
        codecs : how it is packed; None: as the metadata of the image say
        combine : what stands for four pixels on the next level

        Raises
        ------
        StoreError
            The disk is full, gone or broken, or the volume's planes have another shape or type.
        """
        self._must_fit(pixels)
        pixels = np.ascontiguousarray(pixels)
        files = self.files(t, c, pixels.shape[0])
        with zarr_errors(f"cannot store volume t={t} c={c} of {self.path}", self.path):
            self.grow(t, c, pixels.shape[0])
            codec = codecs.pick() if codecs else None
            layout, depth = self._layout(codec), self._shard_px[0]
            began = time.monotonic()
            for number, file in enumerate(files):
                with in_one_step(file) as opened:
                    write_shard(opened, pixels[number * depth : (number + 1) * depth], layout)
            packed = time.monotonic()
            for file in files:
                sync_up_to(file, self._folder)
            if codecs is not None:
                codecs.note(packing_s=packed - began, disk_s=time.monotonic() - packed)
            n_bytes = self._n_bytes(t, c, pixels.shape[0])
        depth, height, width = pixels.shape
        return StoredArray(
            crc32c=crc32c(pixels),
            shape=(depth, height, width),
            dtype=pixels.dtype.name,
            file_bytes=n_bytes,
            codec=None if codec == IN_METADATA else codec,
            levels=self._write_coarser(t, c, pixels, combine),
        )

    def _write_coarser(self, t: int, c: int, pixels: NDArray[Any], combine: Combine) -> tuple[StoredArray, ...]:
        if self._coarser is None:
            return ()
        try:
            smaller = halved(pixels, combine)
        except MemoryError as error:
            raise VolumeMemoryError(
                f"no memory for coarser levels ({pixels.nbytes / 2**22:.0f} MiB) of volume t={t} c={c} of {self.path}: "
                "close other programs and give the same command again, or begin another result with --no-pyramid"
            ) from error
        next_one = self._coarser.write(t, c, smaller, combine=combine)
        return (replace(next_one, levels=()), *next_one.levels)

    def read(self, t: int, c: int, stored: StoredArray) -> NDArray[Any]:
        """Return a (z, y, x) volume.

        Raises
        ------
        StoreError
            A shard is missing, unreadable, or not what was stored: its checksum is wrong.
        """
        depth, *plane_px = stored.shape
        if [*self._array.shape[3:], self._array.dtype.name] != [*plane_px, stored.dtype]:
            raise StoreError(f"image {self.path} has planes of another shape or type than volume t={t} c={c} had")
        if (n_bytes := self._n_bytes(t, c, depth)) != stored.file_bytes:
            raise StoreError(f"volume t={t} c={c} in {self.path} has {n_bytes} bytes, {stored.file_bytes} were stored")
        pixels = self._read(t, c, depth)
        if pixels.shape != stored.shape or crc32c(pixels) != stored.crc32c:
            raise StoreError(f"volume t={t} c={c} in {self.path} is not what was stored: its checksum is wrong")
        return pixels

    def _n_bytes(self, t: int, c: int, depth: int) -> int:
        with translated(f"cannot read volume t={t} c={c} of {self.path}", self.path):
            return sum(file.stat().st_size for file in self.files(t, c, depth))

    def has(self, t: int, c: int, pixels: NDArray[Any]) -> bool:
        """Return whether a volume with just these pixels lies there."""
        try:
            return np.array_equal(self._read(t, c, len(pixels)), pixels)
        except StoreError:
            return False

    def _read(self, t: int, c: int, depth: int) -> NDArray[Any]:
        with zarr_errors(f"cannot read volume t={t} c={c} of {self.path}", self.path):
            if not self._has_checksums():
                for file in self.files(t, c, depth):
                    refuse_wild_chunks(file.read_bytes(), self._n_chunks)
            return np.ascontiguousarray(self._array[t, c, :depth])

    def holds(self, t: int, c: int, depth: int) -> bool:
        """Return whether the array, as it was when opened, is large enough for this volume."""
        n_t, n_c, n_z = self._array.shape[:3]
        return bool(t < n_t and c < n_c and depth <= n_z)

    def files(self, t: int, c: int, depth: int) -> list[Path]:
        """Return the shard files of a volume: one, unless it is deeper than the first volume was."""
        n_shards = math.ceil(depth / self._shard_px[0])
        return [self._folder / "c" / str(t) / str(c) / str(number) / "0" / "0" for number in range(n_shards)]

    def half_written(self, t: int, c: int, depth: int) -> list[Path]:
        """Return what was left of a volume by processes that were ended while they wrote it; of coarser levels, too."""
        left = [path for file in self.files(t, c, depth) for path in file.parent.glob(f"*{PARTIAL_SUFFIX}")]
        return left + ([] if self._coarser is None else self._coarser.half_written(t, c, depth))

    def remove(self, t: int, c: int, depth: int) -> None:
        """Delete the shards of a restored volume that is not, or no longer, committed; of coarser levels, too.

        Raises
        ------
        StoreError
            The disk is gone or read-only.
        """
        with translated(f"cannot remove volume t={t} c={c} of {self.path}", self.path):
            for file in self.files(t, c, depth):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    with_retries(file.unlink)
        if self._coarser is not None:
            self._coarser.remove(t, c, depth)

    def _has_checksums(self) -> bool:
        """Return whether a CRC32C follows each chunk; older runs have none."""
        return any(isinstance(codec, import_zarr().codecs.Crc32cCodec) for codec in self._array.compressors)

    def _layout(self, codec: RawCodec | None) -> ShardLayout:
        """Return how a volume is cut and packed; None: as the metadata of the image say."""
        blosc = blosc_of(self._array, self._has_checksums(), self.path)
        packing = {"cname": blosc.cname.value, "clevel": blosc.clevel, "shuffle": blosc.shuffle.value}
        z, y, x = self._array.chunks[2:]
        n_z, n_y, n_x = (whole // part for whole, part in zip(self._shard_px, (z, y, x), strict=True))
        return ShardLayout(
            chunk=(z, y, x),
            n_chunks=(n_z, n_y, n_x),
            typesize=blosc.typesize,
            blocksize=blosc.blocksize,
            has_checksums=self._has_checksums(),
            **(packing if codec is None else BLOSC[codec]),
        )

    @property
    def _n_chunks(self) -> int:
        """How many chunks one shard has."""
        shard = self._array.shards or self._array.chunks
        return math.prod(whole // part for whole, part in zip(shard, self._array.chunks, strict=True))

    @property
    def _shard_px(self) -> tuple[int, int, int]:
        """(z, y, x) of one shard."""
        z, y, x = (self._array.shards or self._array.chunks)[2:]
        return z, y, x

    def _must_be_as_made(self) -> None:
        """Refuse metadata that was damaged so that reading one volume would take any amount of memory."""
        shape, shard = self._array.shape, self._array.shards or self._array.chunks
        if len(shape) != 5 or any(part >= 2 * max(1, whole) for part, whole in zip(shard[2:], shape[2:], strict=True)):
            raise StoreError(f"image {self.path} is not as it was made: an array {shape} in shards of {shard}")

    def _must_fit(self, pixels: NDArray[Any]) -> None:
        wanted = self._array.shape[3:], self._array.dtype
        if (pixels.shape[1:], pixels.dtype) != wanted:
            raise StoreError(
                f"cannot store a volume of {pixels.shape[1:]} px {pixels.dtype} in {self.path}: "
                f"its first one was {wanted[0]} px {wanted[1]}; use another run_id"
            )

    def grow(self, t: int, c: int, depth: int) -> None:
        """Make the array reach to a volume, and before it those of coarser levels.

        zarr would replace the metadata before they are on the disk: then a power cut can leave an empty file, and no
        volume of the image can be read.
        """
        if self.holds(t, c, depth):
            return
        if self._coarser is not None:
            self._coarser.grow(t, c, depth)
        n_t, n_c, n_z, *plane_px = self._array.shape
        file = self._folder / "zarr.json"
        metadata = json.loads(file.read_bytes())
        metadata["shape"] = [max(n_t, t + 1), max(n_c, c + 1), max(n_z, depth), *plane_px]
        replace_file(file, json.dumps(metadata, indent=1).encode())
        self._array = import_zarr().open_array(store=self._folder, mode="r+")
