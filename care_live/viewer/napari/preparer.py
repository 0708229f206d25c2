"""A thread that prepares volumes for the screen and keeps only the newest."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from care_live.errors import StageError, StoreError
from care_live.maps import MAPS, level_of
from care_live.viewer.auto_contrast import Windows
from care_live.viewer.napari.layers import Drawing, Prepared
from care_live.viewer.uncertainty import relative
from care_live.viewer.view_records import ViewedVolume
from care_live.viewer.volume_index import VolumeIndex
from care_live.wire.arrays import PRODUCTS, Product

logger = logging.getLogger(__name__)

LEVEL = 0.9
"""Central mass of the interval that the uncertainty layer shows."""


class Preparer:
    """Prepares what is wanted whenever the index changes.

    Parameters
    ----------
    ready : called from the preparer's thread when there is something that was not taken yet; never again
        before it was taken, so at most one call is pending
    """

    def __init__(self, index: VolumeIndex, ready: Callable[[], None]) -> None:
        self._library, self._ready = index, ready
        self._windows = Windows()
        self._wake, self._closing, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._time: int | None = None
        self._prepared: Prepared | None = None
        self._last: tuple[ViewedVolume, ...] = ()
        self._unwatch = index.cache.watch(self._wake.set)
        self._thread = threading.Thread(target=self._main, name="napari preparer")
        self._thread.start()
        self._wake.set()

    def want(self, time: int | None) -> None:
        """Show this time point from now on; None follows the newest."""
        self._time = time
        self._wake.set()

    @property
    def waiting(self) -> Prepared | None:
        """What `take` would return now."""
        with self._lock:
            return self._prepared

    def take(self) -> Prepared | None:
        """Return the newest that is ready, once."""
        with self._lock:
            prepared, self._prepared = self._prepared, None
            return prepared

    def close(self, deadline_s: float = 5.0) -> None:
        """End the thread.

        Raises
        ------
        StageError
            The thread did not end in time.
        """
        self._unwatch()
        self._closing.set()
        self._wake.set()
        self._thread.join(deadline_s)
        if self._thread.is_alive():
            raise StageError(f"preparing layers did not end within {deadline_s:g} s; end the process")

    def _main(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                self._prepare()
            except StoreError as error:
                logger.warning("volume unreadable error=%s", error)

    def _prepare(self) -> None:
        volumes = self._volumes()
        if not volumes or volumes == self._last:
            return
        self._last = volumes
        prepared = Prepared(volumes, tuple(one for shown in volumes for one in self._draw(shown)))
        with self._lock:
            pending, self._prepared = self._prepared is not None, prepared
        if not pending:
            self._ready()

    def _volumes(self) -> tuple[ViewedVolume, ...]:
        newest = self._library.newest()
        if newest is None:
            return ()
        return self._library.at(newest.t if self._time is None else self._time, newest.p)

    def _draw(self, shown: ViewedVolume) -> list[Drawing]:
        """Return the layers of one channel: raw, and each map."""
        return [drawing for product in PRODUCTS if (drawing := self._layer(shown, product)) is not None]

    def _layer(self, shown: ViewedVolume, product: Product) -> Drawing | None:
        image = shown.product(product)
        if image is None:
            return None
        if product != "raw" and (limits := MAPS[product].limits) is not None:
            return _drawing(shown, product, image, limits)
        window = self._windows.of(shown, "mean" if product == "laplace_scale" else product)
        if window is None:
            return None
        if product == "laplace_scale":  # the scale follows brightness: shown as it is, it would look like the image
            network = self._library.info.network_of(shown.key.c, shown.model)
            half_width = network.half_width_factor(LEVEL)
            share = relative(shown.maps["mean"], shown.maps["laplace_scale"], window, half_width)
            return _drawing(shown, product, share, (0.0, 1.0))
        return _drawing(shown, product, image, (window.low, window.high))


def _drawing(shown: ViewedVolume, product: Product, pixels: NDArray[Any], window: tuple[float, float]) -> Drawing:
    """Place an array so that all cover the same specimen, whatever their numbers of planes and how coarse they are."""
    (z_um, y_um, x_um), (nz, _, _) = shown.voxel_size_um, shown.shape
    side = 2 ** (level_of(pixels.shape, shown.shape) or 0)
    return Drawing(shown.key.c, product, pixels, window, (z_um * nz / len(pixels), y_um * side, x_um * side))
