"""The whole run from its store, while it is being recorded and after."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from care_live.errors import StoreError
from care_live.images import State, VolumeKey
from care_live.store import PRODUCTS, Product, RunReader
from care_live.viewer.described import describe
from care_live.viewer.shown import RunInfo, Shown

_REFRESH_S = 0.3


@dataclass
class History:
    """Volumes of one run directory, the last ones read kept in memory; any thread may ask.

    Raises
    ------
    StoreError
        The directory holds no run.
    """

    directory: Path
    memory_bytes: int = 256 << 20
    _cache: OrderedDict[VolumeKey, Shown] = field(default_factory=OrderedDict)
    _known: dict[Product, frozenset[VolumeKey]] = field(default_factory=dict)
    _refreshed: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._reader = RunReader(self.directory)

    def known(self) -> frozenset[VolumeKey]:
        """Return the volumes that are committed by now, raw or restored."""
        with self._lock:
            self._refresh()
            return self._known["raw"] | self._known["restored"]

    def get(self, key: VolumeKey) -> Shown | None:
        """Return a volume, or None when it is not stored; one that was restored since is read again."""
        with self._lock:
            self._refresh()
            products = frozenset(product for product in PRODUCTS if key in self._known[product])
            if not products:
                return None
            shown = self._cache.get(key)
            if shown is None or products != _products_of(shown) or self._state(key) != shown.state:
                shown = self._cache[key] = self._read(key, products)
            self._cache.move_to_end(key)
            self._forget_oldest()
            return shown

    def info(self) -> RunInfo:
        """Describe the run and the last network that restored in it."""
        with self._lock:
            self._refresh()
            reader = self._reader
            card = reader.models[-1].card if reader.models else {}
            name = reader.models[-1].name if reader.models else ""
            ended = reader.ended.reason if reader.ended else ""
            return describe(reader.run_id, reader.plan, model=name, card=card, ended=ended)

    def _refresh(self) -> None:
        """Look into the journal again, but not for every picture."""
        now = time.monotonic()
        if self._known and now - self._refreshed < _REFRESH_S:
            return
        self._reader.refresh()
        self._known = {product: frozenset(self._reader.keys(product)) for product in PRODUCTS}
        self._refreshed = now

    def _read(self, key: VolumeKey, products: frozenset[Product]) -> Shown:
        reader = self._reader
        arrays = {product: reader.read(product, key) for product in products if product != "raw"}
        made = reader.restoration(key) if "restored" in products else None
        volume = reader.read_raw(key) if "raw" in products else None
        return Shown(
            key=key,
            raw=volume.pixels if volume else None,
            restored=arrays.get("restored"),
            laplace_scale=arrays.get("laplace_scale"),
            disagreement=arrays.get("disagreement"),
            voxel_size_um=made.voxel_size_um if made else reader.voxel_size_um,
            state=self._state(key),
            flags=frozenset(made.flags) if made else frozenset(),
            acquired_us=volume.acquired_us if volume else 0,
            model=made.model if made else None,
        )

    def _state(self, key: VolumeKey) -> State:
        return self._reader.state(key, "restored" if key in self._known["restored"] else "raw")

    def _forget_oldest(self) -> None:
        while len(self._cache) > 1 and sum(shown.nbytes for shown in self._cache.values()) > self.memory_bytes:
            self._cache.popitem(last=False)


def _products_of(shown: Shown) -> frozenset[Product]:
    return frozenset(product for product in PRODUCTS if shown.product(product) is not None)


def open_history(directory: Path | None) -> History | None:
    """Return the history of a run, or None when there is no directory or no run in it yet."""
    if directory is None:
        return None
    try:
        return History(directory)
    except StoreError:
        return None
