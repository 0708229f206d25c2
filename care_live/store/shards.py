"""Where the images of a run lie, and which files are their shards.

One folder a stage position; of a recorded plate row, column and field. A run is a plate where its source said so
(``summary["plate"]``) and its positions are named as fields are: ``PRODUCT/ROW/COLUMN/FIELD``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from care_live.images import VolumeKey
from care_live.recorded.run_records import STORED_PRODUCTS, RunBegan, StoredProduct
from care_live.store.fsync import PARTIAL_SUFFIX
from care_live.store.ledger import Ledger

QUARANTINE = "quarantine"
"""Folder of a run for raw volumes that its journal does not acknowledge."""
_FIELD = re.compile(r"[0-9A-Za-z]{1,32}/[0-9A-Za-z]{1,32}/[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


def is_number(name: str) -> bool:
    """Return whether a folder's name is an index as care_live writes it; *0 - Copy*, *01* and *x* are not."""
    return _NUMBER.fullmatch(name) is not None


def is_field(name: str) -> bool:
    """Return whether a position is named as a field of a plate: row, column and number of the field."""
    return _FIELD.fullmatch(name) is not None


def is_plate(began: RunBegan | None) -> bool:
    """Return whether the images of a run lie as those of a plate."""
    if began is None or not isinstance(began.summary.get("plate"), dict):
        return False
    folded = {name.casefold() for name in began.positions}  # some file systems don't distinguish a from A
    return all(map(is_field, began.positions)) and len(folded) == len(began.positions)


def folder_of_position(began: RunBegan, p: int) -> str:
    """Return where the image of a stage position lies, below its product."""
    return began.positions[p] if is_plate(began) and p < len(began.positions) else str(p)


def fields(began: RunBegan | None) -> dict[str, int]:
    """Return the stage position of each field's folder; no field where the run is no plate."""
    if began is None or not is_plate(began):
        return {}
    return {name: p for p, name in enumerate(began.positions)}


def image_of(run: Path, file: Path) -> Path:
    """Return the image group that a file of an array lies in."""
    parts = file.relative_to(run).parts
    depth = 4 if len(parts) > 4 and is_field("/".join(parts[1:4])) and parts[4] == "0" else 2
    return run.joinpath(*parts[:depth])


def positions(run: Path, product: StoredProduct, began: RunBegan) -> list[int]:
    """Return the stage positions that have an array of a product."""
    found = (path.parents[1].name for path in (run / product).glob("*/0/zarr.json"))
    of_plate = (p for folder, p in fields(began).items() if (run / product / folder / "0/zarr.json").is_file())
    return sorted({*(int(name) for name in found if is_number(name)), *of_plate})


def shards(run: Path, began: RunBegan | None) -> Iterator[tuple[StoredProduct, VolumeKey, Path]]:
    """Yield every shard file on the disk, of coarser levels too, and which volume it belongs to."""
    of_plate = fields(began)
    for product in STORED_PRODUCTS:
        for path in _shard_files(run / product, level="[0-9]*"):
            *_, t, c, z, _, _ = path.parts
            folder = path.parents[6].relative_to(run / product).as_posix()
            p = int(folder) if is_number(folder) else of_plate.get(folder)
            if p is not None and all(map(is_number, (t, c, z))):
                yield product, VolumeKey(int(t), p, int(c)), path


def _shard_files(folder: Path, *, level: str = "0") -> list[Path]:
    return sorted(path for images in ("*", "*/*/*") for path in folder.glob(f"{images}/{level}/c/*/*/*/0/0"))


def orphans(run: Path, ledger: Ledger) -> list[Path]:
    """Return shards of volumes that were never acknowledged, or have been retracted."""
    committed = {product: set(ledger.keys(product)) for product in STORED_PRODUCTS}
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
    found = (
        path for product in STORED_PRODUCTS for pattern in patterns for path in sorted((run / product).glob(pattern))
    )
    return [path for path in found if path.is_dir() and not is_number(path.name)]
