"""Finished and live data for ndv, the array viewer, in Qt and in Jupyter; needs the extra ``[ndv]``.

::

    import ndv
    from care_live.viewer import ndv_data

    ndv.imshow(ndv_data.of_run("runs/worm"))
    ndv.imshow(ndv_data.of_daemon("tcp://127.0.0.1:5792"))
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeGuard

import ndv
import numpy as np
from numpy.typing import NDArray

from care_live.default_ports import WATCHERS
from care_live.errors import ConfigError, ProtocolError, SourceError, StoreError
from care_live.publish.subscriber import Subscriber
from care_live.recorded.run_records import StoredProduct
from care_live.store import RunReader
from care_live.store.run_array import RunArray
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.view_records import ViewedVolume
from care_live.wire import arrays
from care_live.wire.address import is_loopback
from care_live.wire.keys import ClientKeys
from care_live.wire.messages import View

logger = logging.getLogger(__name__)

_RUN_S = 1.0
"""How often a run that is still being written is looked at."""
_LIVE_S = 0.03
"""How often what a daemon sent is looked at."""
_MOST_MESSAGES = 8
"""Taken at once, so that the window stays at hand."""


def of_run(path: str | Path, product: StoredProduct = "restored", p: int = 0) -> RunData:
    """Return a run, finished or still being written, at one stage position: (t, c, z, y, x).

    A volume is read when one of its planes is shown; a run that is still being written grows.

    Parameters
    ----------
    path : the run's folder
    product : such as ``"raw"`` or ``"restored"``
    p : stage position

    Raises
    ------
    StoreError
        There is no run, or it has no such product.
    SourceError
        It has no volume yet.
    ConfigError
        A notebook has no display to draw with.
    """
    _check_display()
    data = RunData(RunReader(Path(path)).array(product, p))
    if 0 in data.data.shape:
        raise SourceError(f"{path} has no {product} volume at position {p} yet")

    if data.data.is_growing:
        _look_again(data, _RUN_S)
    return data


def of_daemon(
    address: str = WATCHERS,
    product: arrays.Product = "mean",
    p: int = 0,
    *,
    keys: ClientKeys | None = None,
    wait_s: float = 30.0,
) -> LiveData:
    """Return the newest volume that a daemon publishes of one stage position: (c, z, y, x).

    Planes of a volume show as they are restored, before it is complete. The link ends with `close`, or with the last
    reference to what is returned: a viewer has one.

    Parameters
    ----------
    address : the daemon's ``bind_pull``
    product : ``"raw"``, ``"mean"``, ``"laplace_scale"`` or ``"disagreement"``
    p : stage position
    keys : for a daemon on another machine
    wait_s : for the first volume, which says how large the images are, seconds

    Raises
    ------
    ConfigError
        The address cannot be connected to, or needs keys; a notebook has no display to draw with.
    SourceError
        No volume came in time.
    ProtocolError
        The daemon refused the request.
    """
    _check_display()
    view = View(products=(product,), codec="none" if is_loopback(address) else arrays.codec_here())
    link = Subscriber(address, view=view, keys=keys, position=p, slabs=product != "raw")
    data = LiveData(link, product, p)
    try:
        until = time.monotonic() + wait_s
        while not data.has_volume:
            if time.monotonic() > until:
                raise SourceError(f"no {product} volume of position {p} came from {address} within {wait_s:g} s")
            data.take(1.0)
    except BaseException:  # Ctrl-C, too
        data.close()
        raise
    _look_again(data, _LIVE_S, link.close)
    return data


def _check_display() -> None:
    """Refuse a notebook on a machine without a display: there Qt, with which vispy draws, ends the whole kernel."""
    if platform.system() != "Linux" or find_spec("pygfx") is not None:
        return
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")):
            raise ConfigError("ndv draws with a display, and there is none: start Jupyter by xvfb-run -a jupyter lab")


def _look_again(data: RunData | LiveData, wait_s: float, gone: Callable[[], None] = lambda: None) -> None:
    """Let data look every `wait_s` seconds, in the thread of the window, until they say that nothing more comes.

    Parameters
    ----------
    gone : is called in that thread where nothing refers to the data any more, such as a viewer
    """
    shown = weakref.ref(data)

    def turn() -> None:
        if (viewed := shown()) is None:
            gone()
        elif viewed.look():
            _look_again(viewed, wait_s, gone)

    try:
        loop = asyncio.get_running_loop()  # Jupyter's, whose cells run in the thread of its pictures
    except RuntimeError:
        ndv.call_later(int(1000 * wait_s), turn)
    else:
        loop.call_later(wait_s, turn)


class RunData(ndv.DataWrapper[RunArray]):  # type: ignore[misc]
    """A run as ndv shows it, with names of channels and the size of voxels; `ndv.imshow` finds it for a `RunArray`."""

    @classmethod
    def supports(cls, obj: object) -> TypeGuard[RunArray]:
        return isinstance(obj, RunArray)

    def channel_names(self, channel_axis: int | None) -> dict[int, str]:
        """Return them beside the numbers of planes, since a slider in Jupyter takes numbers alone."""
        return dict(enumerate(self.data.channels)) if channel_axis == self.dims.index("c") else {}

    def axis_scales(self) -> dict[Hashable, float]:
        """Return micrometres a voxel."""
        return dict(zip("zyx", self.data.voxel_size_um, strict=True))

    def look(self) -> bool:
        """Read what the run has got since, and draw it; return whether more may come."""
        before = self.data.shape
        try:
            is_new = self.data.refresh()
        except StoreError as error:
            logger.warning("run not read error=%s", error)
            return True
        if self.data.shape != before:
            self.dims_changed.emit()
        if is_new:
            self.data_changed.emit()
        return bool(self.data.is_growing)


class LiveData(ndv.DataWrapper[LiveCache]):  # type: ignore[misc]
    """What a daemon publishes, as ndv shows it: the newest volume of each channel.

    Owned by the thread of the window; `isel` may be called from any.

    Parameters
    ----------
    subscriber : is closed with this
    product, p : what is shown
    """

    def __init__(self, subscriber: Subscriber, product: arrays.Product, p: int) -> None:
        self._subscriber, self._product, self._p = subscriber, product, p
        self._is_open = True
        self._cache = LiveCache()
        super().__init__(self._cache)

    @classmethod
    def supports(cls, obj: object) -> bool:
        return False  # `of_daemon` makes it

    @property
    def dims(self) -> tuple[Hashable, ...]:
        return ("c", "z", "y", "x")

    @property
    def coords(self) -> Mapping[Hashable, Sequence[Any]]:
        """Numbers along each axis, by its name."""
        return dict(zip(self.dims, map(range, self.shape), strict=True))

    def channel_names(self, channel_axis: int | None) -> dict[int, str]:
        """Return them beside the numbers of planes, since a slider in Jupyter takes numbers alone."""
        names = self._cache.info.channels
        n_channels = self.shape[0] if channel_axis == self.dims.index("c") else 0
        return {c: names[c] if c < len(names) else str(c) for c in range(n_channels)}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(c, z, y, x) of what is newest; zeros before the first volume."""
        return self._shape_of(self._newest())

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self._product == "raw" else np.float32)

    @property
    def has_volume(self) -> bool:
        return bool(self._newest())

    def axis_scales(self) -> dict[Hashable, float]:
        """Return micrometres a voxel."""
        newest = next(iter(self._newest().values()), None)
        return {} if newest is None else dict(zip("zyx", newest.voxel_size_um, strict=True))

    def isel(self, index: Mapping[int, int | slice]) -> NDArray[Any]:
        """Return a part of what is newest; a plane that has not come is zero."""
        volumes = self._newest()
        shape = self._shape_of(volumes)
        cut = [index.get(axis, slice(None)) for axis in range(4)]
        wanted = [np.atleast_1d(np.arange(n)[one]) for n, one in zip(shape[:2], cut[:2], strict=True)]
        nothing = np.zeros(shape[2:], self.dtype)
        part = np.stack([_stack_of(self._planes(volumes.get(c)), wanted[1], nothing) for c in wanted[0]])
        return part[tuple(0 if isinstance(one, int) else slice(None) for one in cut[:2]) + tuple(cut[2:])]

    def take(self, wait_s: float = 0.0) -> None:
        """Take what the daemon sent.

        Raises
        ------
        ProtocolError
            The daemon refused the request.
        """
        for n in range(_MOST_MESSAGES):
            if (message := self._subscriber.next(0.0 if n else wait_s)) is None:
                return
            self._cache.take(message)

    def look(self) -> bool:
        """Take what the daemon sent, and draw it; return whether more may come."""
        if not self._is_open:
            return False
        before, described = self._drawn(), (self.shape, self.channel_names(0))
        try:
            self.take()
        except ProtocolError as error:
            logger.warning("no more volumes come error=%s", error)
            self.close()
            return False
        if (self.shape, self.channel_names(0)) != described:  # another run
            self.dims_changed.emit()
        if self._drawn() != before:
            self.data_changed.emit()
        return True

    def close(self) -> None:
        """End the link; what came last stays."""
        if self._is_open:
            self._is_open = False
            self._subscriber.close()

    def _newest(self) -> dict[int, ViewedVolume]:
        """Return by channel what is newest of what is shown, also while it is still being restored."""
        whole = {key.c: one for key in self._cache.newest_of_each_channel(self._p) if (one := self._cache.get(key))}
        newest = whole | {one.key.c: one for one in self._cache.growing(self._p)}
        return {c: one for c, one in newest.items() if one.parts(self._product)}

    def _shape_of(self, volumes: Mapping[int, ViewedVolume]) -> tuple[int, int, int, int]:
        if not volumes:
            return (0, 0, 0, 0)
        planes = [self._planes(one) for one in volumes.values()]
        return (max(volumes) + 1, max(map(len, planes)), *planes[0][0].shape)

    def _planes(self, volume: ViewedVolume | None) -> list[NDArray[Any]]:
        parts = () if volume is None else volume.parts(self._product)
        return [plane for part in parts for plane in part]

    def _drawn(self) -> dict[int, tuple[object, ...]]:
        """Return what tells apart what is shown now from what was shown before."""
        return {c: (one.key, one.sequence, one.n_restored) for c, one in self._newest().items()}


def _stack_of(planes: Sequence[NDArray[Any]], wanted: NDArray[Any], nothing: NDArray[Any]) -> NDArray[Any]:
    """Return some planes of a volume, which may have fewer, or, of another run, be of another size."""
    found = [planes[z] if z < len(planes) and planes[z].shape == nothing.shape else nothing for z in wanted]
    return np.stack(found)
