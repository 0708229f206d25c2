"""The images of an acquisition in Micro-Manager's memory, read over its server while it goes on.

What its window acquires without saving lies nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from care_live.errors import SourceError
from care_live.images import Counts, PlaneIndex, read_only
from care_live.recorded.property_map import plain
from care_live.recorded.tags import Places
from care_live.recorded.window_images import places_of
from care_live.source.java_bridge import Java, JavaBridge, JavaCall, JavaError, JavaObject, summary_of
from care_live.source.mda_settings import AXES, announced, channel_settings, is_acquired

_COORDS = "org.micromanager.data.Coords"
_COORDS_TEXT = re.compile(r"<([^<>]*)>")
_AXIS_TEXT = re.compile(r"(\w+)=(\d+)")
_AT_ONCE = 16
"""Images that one look gives at most: between two looks the end of the acquisition must be noticed."""
_GETTERS = {"ReceivedTime": "getReceivedTime", "Exposure-ms": "getExposureMs", "ImageNumber": "getImageNumber"}
"""Of an image's metadata, what can differ from one image to the next and counts."""

StudioAxes = tuple[int, int, int, int]
"""Time, position, channel, z."""


@dataclass(frozen=True, slots=True)
class StudioImage:
    """An image that Micro-Manager has."""

    axes: dict[str, int]
    index_at: int
    """How many images were found before it."""


class StudioImages:
    """One acquisition's images in the order in which they come.

    Parameters
    ----------
    bridge, data : the connection, and Micro-Manager's ``studio.data()``
    store : the ``Datastore``
    title : of its window
    """

    format_name = "memory of Micro-Manager"

    def __init__(self, bridge: JavaBridge, data: JavaObject, store: JavaObject, *, title: str) -> None:
        self.folder = Path(title)
        self._bridge, self._data, self._store = bridge, data, store
        self._given: set[StudioAxes] = set()
        self.summary = summary_of(bridge, store)
        self._expected = _order(self.summary)
        self._next: StudioAxes | None = None
        self._held: dict[StudioAxes, JavaObject] = {}
        """Images that were found and not read yet."""
        self._ahead: tuple[StudioAxes, JavaObject] | None = None
        """The ``Coords`` of the plane that comes next."""
        self._shape_px: tuple[int, ...] = ()
        self._constant: dict[str, Any] = {}
        """Metadata of the first image."""

    def reopen(self, data: JavaObject, store: JavaObject) -> None:
        """Go on behind a break of the connection."""
        self._held.clear()
        self._ahead = None
        self._data, self._store = data, store

    @property
    def places(self) -> Places:
        return places_of(self.summary)

    @property
    def is_finished(self) -> bool:
        """Whether Micro-Manager has closed it, and every image was found."""
        return bool(self._bridge.call(self._store, "isFrozen")) and self.n_images <= len(self._given)

    @property
    def n_images(self) -> int:
        """Images that Micro-Manager has by now."""
        return count(self._bridge, self._store)

    def look(self) -> list[StudioImage]:
        """Return images that have come, some at a time, in the order that the window's engine has announced."""
        n_new = min(self.n_images - len(self._given), _AT_ONCE)
        found: list[StudioImage] = []
        while len(found) < n_new:
            axes = self._coming()
            if axes is None or (image := self._image(axes)) is None:
                return found + self._take(sorted(self._every() - self._given)[: n_new - len(found)])
            self._held[axes] = image
            self._next = None
            found += self._take([axes])
        return found

    def _take(self, new: list[StudioAxes]) -> list[StudioImage]:
        first = len(self._given)
        self._given.update(new)
        return [StudioImage(dict(zip(AXES, axes, strict=True)), first + i) for i, axes in enumerate(new)]

    def _coming(self) -> StudioAxes | None:
        """Return the next plane by the plan; None: the plan has no more."""
        while self._next is None or self._next in self._given:
            self._next = next(self._expected, None)
            if self._next is None:
                return None
        return self._next

    def _image(self, axes: StudioAxes) -> JavaObject | None:
        """Return the image at a place; None: Micro-Manager has none there."""
        place = self._place(axes)
        (found,) = self._bridge.calls(JavaCall(self._store, "getImage", [place], [_COORDS]), release=[place])
        return found if isinstance(found, JavaObject) else None

    def _place(self, axes: StudioAxes) -> JavaObject:
        """Return the ``Coords`` of a plane, which its user releases."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == axes:
            return ahead[1]
        if ahead is not None:
            self._bridge.release(ahead[1])
        return _object(self._bridge.calls(self._coords(axes))[0])

    def _coords(self, axes: StudioAxes) -> JavaCall:
        return JavaCall(self._data, "createCoords", [_text(axes)], ["java.lang.String"])

    def _every(self) -> set[StudioAxes]:
        """Return the places of all images: one text, as an object for each would take seconds."""
        with self._bridge.lent(self._store, "getUnorderedImageCoords") as places:
            text = str(self._bridge.call(places, "toString"))
        return {_axes(one) for one in _COORDS_TEXT.findall(text)}

    def read(self, image: StudioImage) -> tuple[Counts, dict[str, Any]]:
        """Return the pixels of an image, (y, x), and its metadata.

        Raises
        ------
        SourceError
            Micro-Manager has no such image any more, does not answer, or the image is in colour.
        """
        time, position, channel, z = (image.axes[axis] for axis in AXES)
        axes = time, position, channel, z
        found = self._held.pop(axes, None) or self._image(axes)
        if found is None:
            raise JavaError(f"Micro-Manager has no image {_text(axes)} any more: was its window closed?")
        counts, metadata = self._content(found)
        return counts, self._tags(metadata) if self._constant else self._first_tags(metadata)

    def _content(self, image: JavaObject) -> tuple[Counts, JavaObject]:
        """Return pixels and metadata of an image, and have the place of the next one made, as it will be asked for."""
        wanted = [JavaCall(image, "getRawPixels"), JavaCall(image, "getMetadata")]
        if coming := self._coming() if self._ahead is None else None:
            wanted.append(self._coords(coming))
        if not self._shape_px:  # all images of an acquisition are as large: each call costs Micro-Manager time
            wanted += [JavaCall(image, "getHeight"), JavaCall(image, "getWidth")]
        pixels, metadata, *more = self._bridge.calls(*wanted, release=[image])
        if coming:
            self._ahead = (coming, _object(more.pop(0)))
        if more:
            self._shape_px = (number(more[0]), number(more[1]))
        if not isinstance(pixels, np.ndarray) or pixels.size != np.prod(self._shape_px):
            self._bridge.release(_object(metadata))
            raise SourceError("Micro-Manager's images are in colour: wanted one grey channel per image")
        return read_only(pixels.reshape(self._shape_px)), _object(metadata)

    def _first_tags(self, metadata: JavaObject) -> dict[str, Any]:
        try:
            with self._bridge.lent(metadata, "toPropertyMap") as tree:
                every = plain(str(self._bridge.call(tree, "toJSON")), "an image's metadata")
        finally:
            self._bridge.release(metadata)
        self._constant = {**(every.pop("ScopeData", None) or {}), **every}
        return dict(self._constant)

    def _tags(self, metadata: JavaObject) -> dict[str, Any]:
        getters = dict(_GETTERS)
        if self._constant.get("Camera") != self._constant.get("Core-Camera"):
            getters["Camera"] = "getCamera"
        asked = [JavaCall(metadata, getter) for getter in getters.values()]
        return {**self._constant, **dict(zip(getters, self._bridge.calls(*asked, release=[metadata]), strict=True))}

    def close(self) -> None:
        """Let Micro-Manager forget that we know the acquisition."""
        self._bridge.release(*([self._ahead[1]] if self._ahead else []), self._store)
        self._ahead = None


def count(bridge: JavaBridge, store: JavaObject) -> int:
    """Return how many images an acquisition has."""
    return number(bridge.call(store, "getNumImages"))


def _object(value: Java) -> JavaObject:
    if isinstance(value, JavaObject):
        return value
    raise JavaError(f"Micro-Manager gave {value!r}; wanted an object")


def number(value: object) -> int:
    """Return a whole number that Java gave."""
    if isinstance(value, int | float):
        return int(value)
    raise JavaError(f"Micro-Manager gave {value!r}; wanted a number")


def _order(summary: Mapping[str, Any]) -> Iterator[StudioAxes]:
    """Yield the planes in the order in which the window's engine takes them: the first axis of *AxisOrder* fastest."""
    n = announced(summary)
    channels = channel_settings(summary, n.get("channel", 1))
    axes = [axis for axis in summary.get("AxisOrder") or () if axis in AXES]
    slow_to_fast = list(reversed(axes + [axis for axis in AXES if axis not in axes]))
    for place in np.ndindex(*(n.get(axis, 1) for axis in slow_to_fast)):
        at = dict(zip(slow_to_fast, place, strict=True))
        index = PlaneIndex(at["time"], at["position"], at["channel"], at["z"])  # its fields are in the order of AXES
        if is_acquired(index, channels, n.get("z", 1)):
            yield index


def _text(axes: tuple[int, ...]) -> str:
    return ",".join(f"{axis}={index}" for axis, index in zip(AXES, axes, strict=True))


def _axes(text: str) -> StudioAxes:
    found = dict(_AXIS_TEXT.findall(text))
    time, position, channel, z = (int(found.get(axis, 0)) for axis in AXES)
    return time, position, channel, z
