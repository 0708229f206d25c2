"""What a crash leaves in a run: raw volumes that no journal acknowledges are set aside in it, readable, never deleted.

``RUN/quarantine/N/raw/P/0/c/…`` with a copy of the array's metadata, so that any Zarr reader opens it; N counts up.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from care_live.store.fsync import make_folder, replace_file, sync_folder, translated, with_retries
from care_live.store.ledger import Ledger
from care_live.store.shards import QUARANTINE, image_of, is_number, is_raw, orphans, partial_files

logger = logging.getLogger(__name__)

_ARRAY = Path("0/zarr.json")


def sweep(run: Path, ledger: Ledger) -> tuple[Path, ...]:
    """Tidy what a crash left and the journal does not acknowledge; return the raw files that were set aside.

    Raw files go into the quarantine, whole or half-written. Restored ones and metadata are deleted: they can be made
    again.

    Raises
    ------
    StoreError
        The disk is missing or read-only.
    """
    with translated(f"cannot tidy run {run}", run):
        left = [*partial_files(run), *orphans(run, ledger)]
        raw = tuple(path for path in left if is_raw(run, path))
        doomed = [path for path in left if path not in raw]
        if raw:
            folder = set_aside(run, raw)
            logger.warning(
                "raw set aside run=%s files=%d: no line of the journal acknowledges them; they are kept and can be "
                "read: %s",
                *(run.name, len(raw), how_to_read(folder)),
            )
        for path in doomed:
            with_retries(path.unlink)
    if doomed:
        logger.warning("run swept run=%s unacknowledged_restored_files=%d", run.name, len(doomed))
    return raw


def set_aside(run: Path, files: Sequence[Path]) -> Path:
    """Move raw files into a new folder of the quarantine and return it; they keep their places in it.

    Raises
    ------
    OSError
        The disk is full, missing or read-only; what was not moved is where it was.
    """
    folder = _new_folder(run)
    for image in sorted({image_of(run, file) for file in files}):
        _copy_metadata(image, folder / image.relative_to(run), [file for file in files if image in file.parents])
    for file in files:
        _move(file, folder / file.relative_to(run))
    return folder


def lying_in(run: Path) -> list[Path]:
    """Return the raw files in the quarantine of a run."""
    found = (path for images in ("*", "*/*/*") for path in (run / QUARANTINE).glob(f"*/raw/{images}/0/c/**/*"))
    return sorted(path for path in found if path.is_file())


def how_to_read(folder: Path) -> str:
    """Return how the volumes in one folder of the quarantine are read."""
    return f"zarr.open_array('{folder.as_posix()}/raw/POSITION/0')[t, c]"


def _new_folder(run: Path) -> Path:
    """Make the first folder whose number is free."""
    make_folder(run / QUARANTINE)
    folder = next(one for n in itertools.count(1) if not (one := run / QUARANTINE / str(n)).exists())
    folder.mkdir()
    sync_folder(folder.parent)
    return folder


def _move(file: Path, target: Path) -> None:
    make_folder(target.parent)
    with_retries(lambda: file.rename(target))
    sync_folder(target.parent)


def _copy_metadata(image: Path, target: Path, files: Sequence[Path]) -> None:
    """Write the metadata of an image and its array beside the volumes; what cannot be read is left out."""
    for part in (Path("zarr.json"), _ARRAY):
        try:
            metadata = json.loads((image / part).read_bytes())
            if part == _ARRAY:
                _reach_every_volume(metadata, [file.relative_to(image).parts[2:4] for file in files])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        make_folder((target / part).parent)
        replace_file(target / part, json.dumps(metadata, indent=1).encode())


def _reach_every_volume(metadata: dict[str, Any], places: Sequence[Sequence[str]]) -> None:
    """Let the array reach to every volume: its metadata may be older than its last volumes."""
    for axis in (0, 1):  # t, c
        indices = [int(place[axis]) + 1 for place in places if is_number(place[axis])]
        metadata["shape"][axis] = max([metadata["shape"][axis], *indices])
