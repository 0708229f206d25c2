"""How groups and arrays of Zarr are written, and its errors as ours."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from care_live.errors import StoreError
from care_live.store.fsync import make_folder, replace_file, translated
from care_live.store.raw_codec import BLOSC, IN_METADATA


def import_zarr() -> ModuleType:
    """Import zarr, half a second of work; to be called early, while others start."""
    return importlib.import_module("zarr")


def write_group(path: Path, attributes: dict[str, Any]) -> None:
    """Write a Zarr group's metadata, whole; the folder is made where it is missing.

    Raises
    ------
    StoreError
        The disk is full, gone or read-only.
    """
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    with translated(f"cannot write the metadata of {path}", path):
        make_folder(path)
        replace_file(path / "zarr.json", json.dumps(metadata, indent=1).encode())


def compressors_of(dtype: str) -> tuple[Any, Any]:
    """Return what is best for noisy counts, and for floats whose last bits are zero (3.7x zstd's speed, smaller).

    A checksum of each compressed chunk follows: Blosc does not check the sizes in a chunk, and damaged ones end the
    process that reads it. Every Zarr reader compares the checksum before it calls Blosc.
    """
    codecs = import_zarr().codecs
    if np.dtype(dtype).kind == "u":
        return codecs.BloscCodec(**BLOSC[IN_METADATA]), codecs.Crc32cCodec()
    return codecs.BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"), codecs.Crc32cCodec()


def blosc_of(array: Any, has_checksums: bool, path: Path) -> Any:
    """Return the codec that packs chunks; between it and the pixels stands none that changes them.

    Raises
    ------
    StoreError
        The metadata name others.
    """
    sharding, *others = array.metadata.codecs
    to_bytes, *packing = getattr(sharding, "codecs", (None,))
    kinds = import_zarr().codecs
    wanted = [kinds.BloscCodec, kinds.Crc32cCodec][: 1 + has_checksums]
    is_known = [type(one) for one in (to_bytes, *packing)] == [kinds.BytesCodec, *wanted]
    order = getattr(to_bytes, "endian", None)
    if others or not is_known or order not in {None, kinds.BytesCodec(endian="little").endian}:
        raise StoreError(f"image {path} is not as it was made: its codecs are {array.metadata.codecs}")
    return packing[0]


@contextlib.contextmanager
def zarr_errors(what: str, path: Path) -> Iterator[None]:
    """Turn errors of zarr, its codecs and the disk into StoreErrors."""
    with translated(what, path):
        try:
            yield
        except (OSError, StoreError):
            raise
        except Exception as error:  # of zarr and its codecs, which met damaged bytes: any kind
            raise StoreError(f"{what}: {str(error) or type(error).__name__}") from error
