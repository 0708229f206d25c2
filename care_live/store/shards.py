"""Which files of a run's folder are shards, and of which volumes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from care_live.images import VolumeKey
from care_live.recorded.run_records import PRODUCTS, Product
from care_live.store.fsync import PARTIAL_SUFFIX
from care_live.store.ledger import Ledger

QUARANTINE = "quarantine"
"""Folder of a run for raw volumes that its journal does not acknowledge."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


def is_number(name: str) -> bool:
    """Tell whether a folder's name is an index as we write it; *0 - Copy*, *01* and *x* are not."""
    return _NUMBER.fullmatch(name) is not None


def positions(run: Path, product: Product) -> list[int]:
    """Return the stage positions that have an array of a product."""
    found = (path.parents[1].name for path in (run / product).glob("*/0/zarr.json"))
    return sorted(int(name) for name in found if is_number(name))


def shards(run: Path, *products: Product) -> Iterator[tuple[Product, VolumeKey, Path]]:
    """Yield every shard file on the disk, and which volume it belongs to."""
    for product in products or PRODUCTS:
        for path in sorted((run / product).glob("*/0/c/*/*/*/0/0")):
            p, _, _, t, c, z = path.relative_to(run / product).parts[:6]
            if all(map(is_number, (p, t, c, z))):
                yield product, VolumeKey(int(t), int(p), int(c)), path


def orphans(run: Path, ledger: Ledger) -> list[Path]:
    """Return shards of volumes that were never acknowledged, or have been retracted."""
    committed = {product: set(ledger.keys(product)) for product in PRODUCTS}
    return [path for product, key, path in shards(run) if key not in committed[product]]


def partial_files(run: Path) -> list[Path]:
    """Return files that were being written when their writer died."""
    found = sorted(run.rglob(f"*{PARTIAL_SUFFIX}"))
    return [path for path in found if path.relative_to(run).parts[0] != QUARANTINE]


def raw_files(run: Path) -> list[Path]:
    """Return everything that may be raw pixels, whole or half-written."""
    return sorted({path for *_, path in shards(run, "raw")} | {one for one in partial_files(run) if is_raw(run, one)})


def is_raw(run: Path, path: Path) -> bool:
    """Tell whether a file lies among the shards of raw volumes."""
    parts = path.relative_to(run).parts
    return parts[0] == "raw" and parts[2:4] == ("0", "c")


def foreign_folders(run: Path) -> list[Path]:
    """Return folders among the images and volumes whose names are not ours; they are left alone."""
    patterns = ("*", "*/0/c/*", "*/0/c/*/*")
    found = (path for product in PRODUCTS for pattern in patterns for path in sorted((run / product).glob(pattern)))
    return [path for path in found if path.is_dir() and not is_number(path.name)]
