"""Which files of a run's folder are shards, and of which volumes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from care_live.images import VolumeKey
from care_live.recorded.run_records import PRODUCTS, Product, RunBegan
from care_live.store.fsync import PARTIAL_SUFFIX
from care_live.store.ledger import Ledger
from care_live.store.plates import fields, image_of, is_plate

QUARANTINE = "quarantine"
"""Folder of a run for raw volumes that its journal does not acknowledge."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


def is_number(name: str) -> bool:
    """Return whether a folder's name is an index as care_live writes it; *0 - Copy*, *01* and *x* are not."""
    return _NUMBER.fullmatch(name) is not None


def positions(run: Path, product: Product, began: RunBegan) -> list[int]:
    """Return the stage positions that have an array of a product."""
    found = (path.parents[1].name for path in (run / product).glob("*/0/zarr.json"))
    of_plate = (p for folder, p in fields(began).items() if (run / product / folder / "0/zarr.json").is_file())
    return sorted({*(int(name) for name in found if is_number(name)), *of_plate})


def shards(run: Path, began: RunBegan | None) -> Iterator[tuple[Product, VolumeKey, Path]]:
    """Yield every shard file on the disk, and which volume it belongs to."""
    of_plate = fields(began)
    for product in PRODUCTS:
        for path in _shard_files(run / product):
            *_, t, c, z, _, _ = path.parts
            folder = image_of(run, path).relative_to(run / product).as_posix()
            p = int(folder) if is_number(folder) else of_plate.get(folder)
            if p is not None and all(map(is_number, (t, c, z))):
                yield product, VolumeKey(int(t), p, int(c)), path


def _shard_files(folder: Path) -> list[Path]:
    return sorted(path for images in ("*", "*/*/*") for path in folder.glob(f"{images}/0/c/*/*/*/0/0"))


def orphans(run: Path, ledger: Ledger) -> list[Path]:
    """Return shards of volumes that were never acknowledged, or have been retracted."""
    committed = {product: set(ledger.keys(product)) for product in PRODUCTS}
    return [path for product, key, path in shards(run, ledger.began) if key not in committed[product]]


def partial_files(run: Path) -> list[Path]:
    """Return files that were being written when their writer died."""
    found = sorted(run.rglob(f"*{PARTIAL_SUFFIX}"))
    return [path for path in found if path.relative_to(run).parts[0] != QUARANTINE]


def raw_files(run: Path) -> list[Path]:
    """Return everything that may be raw pixels, whole or half-written."""
    return sorted({*_shard_files(run / "raw"), *(one for one in partial_files(run) if is_raw(run, one))})


def is_raw(run: Path, path: Path) -> bool:
    """Return whether a file lies among the shards of raw volumes."""
    parts = path.relative_to(run).parts
    return parts[0] == "raw" and path.relative_to(image_of(run, path)).parts[:2] == ("0", "c")


def foreign_folders(run: Path, began: RunBegan | None) -> list[Path]:
    """Return folders among the images and volumes whose names are not ours; they are left alone."""
    if is_plate(began):
        return []  # rows and columns may have any name
    patterns = ("*", "*/0/c/*", "*/0/c/*/*")
    found = (path for product in PRODUCTS for pattern in patterns for path in sorted((run / product).glob(pattern)))
    return [path for path in found if path.is_dir() and not is_number(path.name)]
