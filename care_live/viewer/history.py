"""The whole run from its store, while it is being recorded and after."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from pathlib import Path

from care_live.errors import StoreError
from care_live.images import ModelIdentity, NetworkInUse, State, VolumeKey
from care_live.maps import folder_of
from care_live.recorded.journal_lines import JOURNAL_NAME
from care_live.recorded.run_records import RestoredStored
from care_live.store import STORED_PRODUCTS, RunReader, StoredProduct
from care_live.viewer.trust_line import TrustNote, note_of
from care_live.viewer.view_records import RunInfo, ViewedVolume, describe

logger = logging.getLogger(__name__)

_REFRESH_S = 0.3


class History:
    """Volumes of one run directory; the last ones that were read stay in memory. Any thread may call it.

    A run that does not exist yet, or cannot be read, has no volumes; each call tries again.

    Parameters
    ----------
    directory : Path
        The run's folder.
    """

    def __init__(self, directory: Path, *, memory_bytes: int = 256 << 20) -> None:
        self.directory = directory
        self.memory_bytes = memory_bytes
        self.problem = ""
        """Why the run cannot be read now; empty while all is well."""
        self._cache: OrderedDict[VolumeKey, ViewedVolume] = OrderedDict()
        self._known: dict[StoredProduct, frozenset[VolumeKey]] = {product: frozenset() for product in STORED_PRODUCTS}
        self._info = RunInfo()
        self._notes: dict[VolumeKey, tuple[RestoredStored, TrustNote | None]] = {}
        self._reader: RunReader | None = None
        self._refreshed = -_REFRESH_S
        self._lock = threading.Lock()

    def known(self) -> frozenset[VolumeKey]:
        """Return the volumes that are committed by now, raw or restored."""
        with self._lock:
            self._refresh()
            return self._known["raw"] | self._known["restored"]

    def info(self) -> RunInfo:
        """Describe the run and the networks that restored in it."""
        with self._lock:
            self._refresh()
            return self._info

    def trust_notes(self) -> dict[VolumeKey, TrustNote]:
        """Return the verdict of every restored volume that was examined."""
        with self._lock:
            reader = self._refresh()
            if reader is None:
                return {}
            for key in self._known["restored"]:
                made = reader.restoration(key)
                if key not in self._notes or self._notes[key][0] is not made:
                    self._notes[key] = (made, note_of(made.trust) if made.trust else None)
            return {key: note for key, (_, note) in self._notes.items() if note is not None}

    def get(self, key: VolumeKey) -> ViewedVolume | None:
        """Return a volume, or None when it is not stored; one that was restored since is read again."""
        with self._lock:
            reader = self._refresh()
            products = frozenset(product for product in STORED_PRODUCTS if key in self._known[product])
            if reader is None or not products:
                return None
            shown = self._cache.get(key)
            if shown is None or (_products_of(shown), shown.state) != (products, _state(reader, key, products)):
                shown = self._cache[key] = _read(reader, key, products)
            self._cache.move_to_end(key)
            self._forget_oldest()
            return shown

    def _refresh(self) -> RunReader | None:
        """Read the journal again, but not for every picture."""
        now = time.monotonic()
        if now - self._refreshed < _REFRESH_S:
            return self._reader
        self._refreshed = now
        try:
            self._look()
        except StoreError as error:
            self._say(str(error))
        else:
            self._say("")
        return self._reader

    def _look(self) -> None:
        if self._reader is None:
            if not _has_begun(self.directory / JOURNAL_NAME):
                return
            self._reader = RunReader(self.directory)
        else:
            self._reader.refresh()
        self._known = {product: frozenset(self._reader.keys(product)) for product in STORED_PRODUCTS}
        self._info = _describe(self._reader)

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            logger.warning("history unreadable error=%s", problem)
        self.problem = problem

    def _forget_oldest(self) -> None:
        while len(self._cache) > 1 and sum(shown.nbytes for shown in self._cache.values()) > self.memory_bytes:
            self._cache.popitem(last=False)


def _has_begun(journal: Path) -> bool:
    """Return whether a journal has a record; that of a daemon that waits for its first frame is empty."""
    try:
        return journal.stat().st_size > 0
    except OSError:
        return False


def _products_of(shown: ViewedVolume) -> frozenset[StoredProduct]:
    """Return the folders that a volume was read from."""
    return frozenset(map(folder_of, shown.maps)) | ({"raw"} if shown.raw is not None else set())


def _read(reader: RunReader, key: VolumeKey, products: frozenset[StoredProduct]) -> ViewedVolume:
    raw = reader.read_raw(key) if "raw" in products else None
    restored = reader.read_restored(key, raw) if "restored" in products else None
    return ViewedVolume(restored, raw, _state(reader, key, products))


def _state(reader: RunReader, key: VolumeKey, products: frozenset[StoredProduct]) -> State:
    return reader.state(key, "restored" if "restored" in products else "raw")


def _describe(reader: RunReader) -> RunInfo:
    plan = reader.plan
    return describe(
        reader.run_id,
        channels=plan.channels,
        positions=plan.positions,
        interval_s=plan.interval_s,
        networks=(NetworkInUse(ModelIdentity(one.name, one.sha256), one.card, one.channels) for one in reader.models),
        ended=reader.ended.reason if reader.ended else "",
    )
