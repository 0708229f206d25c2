"""Whether an input is still the one that a result was begun with: names, sizes and times of its files, then pixels.

Times change where a data set is copied, too. So files that are not as they were only make us read once more what was
restored already, and compare it with the checksums in the journal; that takes a few percent of its restoration.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from care_live.checksum import crc32c
from care_live.errors import SourceError
from care_live.images import Volume, VolumeKey
from care_live.imports import need
from care_live.offline.time_points import TimePoint, TimePoints
from care_live.recorded import is_address, scene_in
from care_live.store.ledger import Ledger

logger = logging.getLogger(__name__)

KEY = "source_trace"
"""Where a run's summary has it."""


def trace(source: Path | str) -> str | None:
    """Return a checksum of names, sizes and times of a data set's files; None: they can't be listed.

    Parameters
    ----------
    source : a path, or the address of an OME-Zarr
    """
    if is_address(source):
        return _trace_of(_listed(str(source)))
    path, _ = scene_in(Path(source))
    return _trace_of(_files(path) if path.is_dir() else [_line("", path.stat())])


def checksums_of(volumes: Iterable[Volume], keys: Sequence[VolumeKey]) -> tuple[int, ...]:
    """Return the checksums of raw volumes, in the order of these keys."""
    found = {volume.key: volume_checksum(volume) for volume in volumes}
    return tuple(found[key] for key in keys)


def volume_checksum(volume: Volume) -> int:
    """Return the CRC32C of the pixels as they would be stored."""
    return crc32c(np.ascontiguousarray(volume.pixels))


def differing(time_points: TimePoints, ledger: Ledger) -> list[TimePoint]:
    """Return the time points that a result has, and whose pixels are other ones by now.

    What can't be read any more, or has no checksum (an older version restored it), does not count.
    """
    known, found = _known(ledger), []
    for time_point in time_points.all:
        if known.keys().isdisjoint(time_points.keys(time_point)):
            continue
        try:
            volumes = time_points.read(time_point)
        except SourceError as error:
            logger.debug("not compared time_point=%s reason=%s", tuple(time_point), error)
            continue
        if any(known[one.key] != volume_checksum(one) for one in volumes if one.key in known):
            found.append(time_point)
    return found


def _known(ledger: Ledger) -> dict[VolumeKey, int]:
    """Return the checksum of each raw volume that is stored, or of which something was restored."""
    known = {key: stored.array.crc32c for key, stored in ledger.raw.items()}
    for record in ledger.restored.values():
        known |= dict(zip(record.sources, record.sources_crc32c, strict=False))
    return known


def _trace_of(lines: Iterable[str] | None) -> str | None:
    return None if lines is None else f"{crc32c(chr(10).join(sorted(lines)).encode()):08x}"


def _files(folder: Path) -> Iterator[str]:
    """Yield a line for each file, also behind links: their names and times stay where the files behind them change."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        about = Path(place).stat()
        if (about.st_dev, about.st_ino) in seen:  # a link to a folder that it lies in
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        for name in names:
            file = Path(place, name)
            yield _line(file.relative_to(folder).as_posix(), _about(file))


def _about(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError:  # a link to nothing
        return file.lstat()


def _line(name: str, about: os.stat_result) -> str:
    return f"{name} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"


def _listed(address: str) -> list[str] | None:
    """Return what a store says of each object; None: it lists nothing, as most servers of web pages."""
    try:
        system, root = need("fsspec", extra="s3").core.url_to_fs(address)
        found = system.find(root, detail=True)
    except Exception as error:  # noqa: BLE001 - of whichever store
        logger.debug("not listed address=%s reason=%s", address, error)
        return None
    names = ("size", "ETag", "LastModified", "last_modified", "mtime", "created")
    return [" ".join([path, *(str(about.get(name, "")) for name in names)]) for path, about in found.items()] or None
