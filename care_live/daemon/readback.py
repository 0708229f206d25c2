"""Volumes of the run that is being written, read back: for late requests of viewers, and for late restoration."""

from __future__ import annotations

import logging
from pathlib import Path

from care_live.errors import StoreError
from care_live.images import Restored, Volume, VolumeKey
from care_live.restore.geometry import source_of
from care_live.store import RunReader

logger = logging.getLogger(__name__)


class Stored:
    """Reads one run for one thread; opens it at the first volume.

    Parameters
    ----------
    path : the run's folder
    reader : of the run's writer, where it is open
    """

    def __init__(self, path: Path, reader: RunReader | None = None) -> None:
        self._path = path
        self._reader = reader

    def go_to(self, reader: RunReader) -> None:
        """Read what a writer stores, from now on."""
        self._path, self._reader = reader.path, reader

    def raw(self, key: VolumeKey) -> Volume:
        """Return a raw volume.

        Raises
        ------
        StoreError
            The volume is not stored, or its pixels do not match their checksum.
        """
        return self._fresh().read_raw(key)

    def raw_if_stored(self, key: VolumeKey) -> Volume | None:
        """Return a raw volume, or None where it is not stored, or can't be read any more."""
        reader = self._fresh()
        try:
            return reader.read_raw(key) if reader.has("raw", key) else None
        except StoreError as error:
            logger.warning("earlier volume not read key=%s reason=%s", tuple(key), error)
            return None

    def newest(self, key: VolumeKey) -> Restored | Volume | None:
        """Return what the store has of a volume: restored, else raw, else nothing."""
        reader = self._fresh()
        if reader.has("restored", key):
            return _restored(reader, key)
        return reader.read_raw(key) if reader.has("raw", key) else None

    def _fresh(self) -> RunReader:
        if (reader := self._reader) is None:
            reader = self._reader = RunReader(self._path)
        else:
            reader.refresh()
        return reader


def _restored(reader: RunReader, key: VolumeKey) -> Restored:
    sources = reader.restoration(key).sources
    return reader.read_restored(key, reader.read_raw(sources[source_of(key.c, len(sources))]))
