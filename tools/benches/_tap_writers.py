"""Others that store an acquisition's planes as they come, in its own process; for the tap bench, same planes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

Image = NDArray[Any]
CHUNK_PX = (8, 512, 512)
"""As the store cuts planes."""


class Writer(NamedTuple):
    """Takes each plane, and in the end waits until all are written."""

    append: Callable[[Image], Any]
    close: Callable[[], Any]


def memory(folder: Path, n_z: int, size_px: int) -> Writer:
    """Keeps all planes, and nothing else: a tap that never makes the camera wait needs as much memory."""
    kept: list[Image] = []
    return Writer(kept.append, kept.clear)


def plain_file(folder: Path, n_z: int, size_px: int) -> Writer:
    """The bytes as they are into one file, synced after each stack."""
    descriptor, n_written = os.open(folder / "planes", os.O_CREAT | os.O_WRONLY), 0

    def append(image: Image) -> None:
        nonlocal n_written
        os.write(descriptor, image.data)
        n_written += 1
        if n_written % n_z == 0:
            os.fsync(descriptor)

    return Writer(append, lambda: os.close(descriptor))


def acquire_zarr(folder: Path, n_z: int, size_px: int) -> Writer:
    """acquire-zarr: Blosc with lz4 at level 1, bits shuffled, one shard a stack; it does not sync."""
    import acquire_zarr as az

    def dimension(name: str, size: int, chunk: int) -> Any:
        kind = az.DimensionType.SPACE if size else az.DimensionType.TIME
        n_chunks = max(1, size // chunk)
        return az.Dimension(name=name, kind=kind, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=n_chunks)

    z, y, x = min(CHUNK_PX[0], n_z), min(CHUNK_PX[1], size_px), min(CHUNK_PX[2], size_px)
    array = az.ArraySettings(
        dimensions=[
            dimension("t", 0, 1),
            dimension("z", n_z, z),
            dimension("y", size_px, y),
            dimension("x", size_px, x),
        ],
        data_type=az.DataType.UINT16,
        compression=az.CompressionSettings(
            compressor=az.Compressor.BLOSC1, codec=az.CompressionCodec.BLOSC_LZ4, level=1, shuffle=2
        ),
    )
    settings = az.StreamSettings(store_path=str(folder / "a.zarr"), arrays=[array], overwrite=True)
    stream = az.ZarrStream(settings)
    return Writer(stream.append, stream.close)


def ome_writers(folder: Path, n_z: int, size_px: int) -> Writer:
    """ome-writers as it comes: OME-Zarr by the writer that it picks."""
    import ome_writers as ow

    dimensions = [
        ow.Dimension(name="t", count=None, type="time"),
        ow.Dimension(name="z", count=n_z, chunk_size=min(CHUNK_PX[0], n_z), type="space"),
        ow.Dimension(name="y", count=size_px, chunk_size=min(CHUNK_PX[1], size_px), type="space"),
        ow.Dimension(name="x", count=size_px, chunk_size=min(CHUNK_PX[2], size_px), type="space"),
    ]
    settings = ow.AcquisitionSettings(
        root_path=str(folder / "o.ome.zarr"), dimensions=dimensions, dtype="uint16", overwrite=True
    )
    stream = ow.create_stream(settings)
    return Writer(stream.append, stream.close)


WRITERS: dict[str, Callable[[Path, int, int], Writer]] = {
    "memory": memory,
    "plain_file": plain_file,
    "acquire_zarr": acquire_zarr,
    "ome_writers": ome_writers,
}
