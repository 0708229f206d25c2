"""Read a run, finished or still being written: what the journal acknowledges, and nothing else."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from care_live.errors import StoreError
from care_live.images import NotRestored, Plan, Restored, State, Volume, VolumeKey, read_only
from care_live.maps import HEADS, folder_of
from care_live.pyramid import coarser, combine_of
from care_live.recorded.run_records import (
    STORED_PRODUCTS,
    ModelNoted,
    RawStored,
    RestoredStored,
    RunEndNoted,
    StoredArray,
    StoredProduct,
)
from care_live.store.journal_tail import JournalTail, News
from care_live.store.ledger import Ledger
from care_live.store.run_array import RunArray
from care_live.store.shards import folder_of_position
from care_live.store.zarr_images import ImageGroup
from care_live.wire.codec import record_of


class RunReader:
    """One run, as far as it is safe. Owned by one thread; any number of readers may look at a run.

    Parameters
    ----------
    path : Path
        The run's folder.
    ledger : Ledger, optional
        Of the writer in this process, which keeps it up to date; the journal is not read a second time, and what it
        says of a long run is in memory once.

    Raises
    ------
    StoreError
        There is no run, or its journal cannot be read.

    Notes
    -----
    Call `refresh` to see what has been stored since. Damaged lines of the journal are left out, see `damaged_lines`:
    the lines before and after them still hold, and every volume has a checksum of its own.
    """

    def __init__(self, path: Path, *, ledger: Ledger | None = None) -> None:
        self.path = path
        self._tail: JournalTail | None
        self._begin_anew()
        if ledger is None:
            self.refresh()
        else:
            assert ledger.began is not None
            self._tail, self._ledger, self._began = None, ledger, ledger.began

    def _begin_anew(self) -> None:
        self._tail = JournalTail(self.path)
        self._ledger = Ledger()
        self._images: dict[tuple[StoredProduct, int], ImageGroup] = {}

    def refresh(self) -> None:
        """Read what the journal has got since the last time; all of it where it is no longer what it was.

        Raises
        ------
        StoreError
            The journal is missing, has no beginning, or cannot be read.
        """
        if self._tail is None:
            return
        news = self._tail.look()
        try:
            self._take(news)
        except StoreError:
            self._begin_anew()  # half of its records would be wrong
            raise

    def _take(self, news: News) -> None:
        if news.from_beginning:
            self._ledger, self._images = Ledger(), {}
        self._ledger.replay(news.records)
        if self._ledger.began is None:
            raise StoreError(f"{self.path} is not a run of care_live: its journal has no beginning")
        self._began = self._ledger.began

    @property
    def damaged_lines(self) -> tuple[int, ...]:
        """Numbers, from 1, of damaged lines of the journal: volumes may be missing from it."""
        return () if self._tail is None else self._tail.damaged_lines

    # -- what the run is ------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        return self._began.run_id

    @property
    def plan(self) -> Plan:
        """What the acquisition was to deliver."""
        return self._began.plan()

    @property
    def began_us(self) -> int:
        """Wall clock of the run's beginning, microseconds since the epoch."""
        return self._began.at_us

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """(z, y, x) of the raw volumes."""
        return self._began.voxel_size_um

    @property
    def summary(self) -> dict[str, Any]:
        """The source's description of the microscope."""
        return self._began.summary

    @property
    def models(self) -> tuple[ModelNoted, ...]:
        """The networks that restored in this run, with their cards."""
        return tuple(self._ledger.models.values())

    @property
    def ended(self) -> RunEndNoted | None:
        """How the run ended; None while it goes on, or when its daemon was killed."""
        return self._ledger.ended

    def _repr_html_(self) -> str:
        """Return what the run is as a table, for a notebook."""
        counts = {product: len(self.keys(product)) for product in STORED_PRODUCTS}
        rows = {
            "run": self.run_id,
            "volumes": ", ".join(f"{n} {product}" for product, n in counts.items() if n),
            "voxel (z, y, x)": " × ".join(f"{um:.4g}" for um in self.voxel_size_um) + " µm",
            "networks": ", ".join(model.name for model in self.models),
            "ended": self.ended.reason if self.ended else "not yet",
        }
        cells = (f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table>{''.join(cells)}</table>"

    # -- what is in it --------------------------------------------------------------------------------------

    def has(self, product: StoredProduct, key: VolumeKey) -> bool:
        """Return whether a volume is safe."""
        return self._ledger.array(product, key) is not None

    def keys(self, product: StoredProduct) -> list[VolumeKey]:
        """Return the volumes that are safe, oldest first."""
        return self._ledger.keys(product)

    def state(self, key: VolumeKey, product: StoredProduct = "raw") -> State:
        """Return whether a volume is provisional, confirmed or suspect; a restored one is as its worst source."""
        self._must_have(product, key)
        return self._ledger.state(product, key)

    def not_restored(self) -> dict[VolumeKey, NotRestored]:
        """Return the raw volumes that were skipped, or whose inference failed, and why."""
        return dict(self._ledger.not_restored)

    def raw_only(self) -> list[VolumeKey]:
        """Return the raw volumes of which nothing was restored, oldest first."""
        return self._ledger.raw_only()

    def acquisition(self, key: VolumeKey) -> RawStored:
        """Return how a raw volume came: its planes, its times, how it was closed."""
        self._must_have("raw", key)
        return self._ledger.raw[key]

    def restoration(self, key: VolumeKey) -> RestoredStored:
        """Return how a restored volume was made: sources, range, network, flags."""
        self._must_have("restored", key)
        return self._ledger.restored[key]

    # -- pixels ---------------------------------------------------------------------------------------------

    def array(self, product: StoredProduct = "restored", p: int = 0) -> RunArray:
        """Return all volumes of a product at one stage position as one array, read as it is looked at.

        Raises
        ------
        StoreError
            No run has such a product.

        Examples
        --------
        >>> ndv.imshow(care_live.open_run("runs/worm").array("restored"))
        """
        if product not in STORED_PRODUCTS:
            raise StoreError(f"a run has no {product!r}: wanted one of {', '.join(STORED_PRODUCTS)}")
        return RunArray(self, product, p)

    def read(self, product: StoredProduct, key: VolumeKey, *, level: int = 0) -> NDArray[Any]:
        """Return a volume, (z, y, x), read-only.

        Parameters
        ----------
        product, key
            As in `keys`.
        level : int
            0 is what was stored; each level more halves y and x: the average of raw and restored pixels, the largest of
            scale and disagreement.

        Raises
        ------
        StoreError
            The volume is not stored, or its pixels do not match their checksum.
        """
        stored = self._must_have(product, key)
        try:
            pixels = self._read(product, key, stored)
        except StoreError:
            self.refresh()  # it may have been replaced by another one in between
            if (now := self._ledger.array(product, key)) in (None, stored):
                raise
            pixels = self._read(product, key, now)
        return read_only(coarser(pixels, level, combine_of(product)))

    def read_raw(self, key: VolumeKey) -> Volume:
        """Return a raw volume with its integrity and its state."""
        pixels = self.read("raw", key)
        return self._ledger.raw[key].volume(self._began, pixels, self.state(key))

    def read_restored(self, key: VolumeKey, raw: Volume | None) -> Restored:
        """Return a restored volume with all its maps.

        Parameters
        ----------
        raw : the source that it belongs to, where the run has it
        """
        made = self.restoration(key)
        maps = {head: self.read(folder, key) for head in HEADS if (folder := folder_of(head)) in made.arrays}
        return record_of(Restored, made, raw=raw, maps=maps, flags=frozenset(made.flags))

    def _read(self, product: StoredProduct, key: VolumeKey, stored: StoredArray) -> NDArray[Any]:
        return self._image(product, key, stored.shape[0]).read(key.t, key.c, stored)

    def _image(self, product: StoredProduct, key: VolumeKey, depth: int) -> ImageGroup:
        image = self._images.get((product, key.p))
        if image is None or not image.holds(key.t, key.c, depth):  # the array has grown since
            image = self._images[product, key.p] = ImageGroup(
                self.path / product / folder_of_position(self._began, key.p)
            )
        return image

    def _must_have(self, product: StoredProduct, key: VolumeKey) -> StoredArray:
        stored = self._ledger.array(product, key)
        if stored is None:
            raise StoreError(f"run {self.path} has no {product} volume {tuple(key)}")
        return stored
