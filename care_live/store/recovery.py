"""What a writer does before it goes on in a run that another one may have left in a crash."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from care_live.errors import StoreError
from care_live.images import RunStarted, VolumeKey
from care_live.store.durable import PARTIAL_SUFFIX, translated, with_retries
from care_live.store.ledger import Ledger
from care_live.store.records import PRODUCTS, Product, RunBegan

logger = logging.getLogger(__name__)


def check_same_run(began: RunBegan, started: RunStarted, run: Path) -> None:
    """Refuse to go on in the folder of another acquisition.

    Raises
    ------
    StoreError
        Plane shape, type, channels, positions or voxel size differ; says which.
    """
    before, now = began.plan(), started.plan
    for name in ("shape_px", "dtype", "channels", "positions", "voxel_size_um"):
        was, comes = getattr(before, name), getattr(now, name)
        if was != comes:
            raise StoreError(f"run {run} was begun with {name} {was}, now {comes} comes; use another run_id")


def sweep(run: Path, ledger: Ledger) -> None:
    """Delete what a crash left half-written: partial files, and shards that the journal does not acknowledge.

    Raises
    ------
    StoreError
        The disk is gone or read-only.
    """
    with translated(f"cannot tidy run {run}", run):
        doomed = [*partial_files(run), *orphans(run, ledger)]
        for path in doomed:
            with_retries(path.unlink)
    if doomed:
        logger.warning("run swept run=%s unacknowledged_files=%d", run.name, len(doomed))


def partial_files(run: Path) -> list[Path]:
    """Return files that were being written when their writer died."""
    return sorted(run.rglob(f"*{PARTIAL_SUFFIX}"))


def orphans(run: Path, ledger: Ledger) -> list[Path]:
    """Return shards of volumes that were never acknowledged, or have been retracted."""
    committed = {product: set(ledger.keys(product)) for product in PRODUCTS}
    return [path for product, key, path in shards(run) if key not in committed[product]]


def shards(run: Path) -> Iterator[tuple[Product, VolumeKey, Path]]:
    """Yield every shard file on the disk, and which volume it belongs to."""
    for product in PRODUCTS:
        for path in sorted((run / product).glob("*/0/c/*/*/*/0/0")):
            p, _, _, t, c = path.relative_to(run / product).parts[:5]
            yield product, VolumeKey(int(t), int(p), int(c)), path
