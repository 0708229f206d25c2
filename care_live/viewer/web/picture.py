"""One WebSocket message: a JSON header and the coded arrays that make one picture.

Layout: header length (uint32, little-endian), header as JSON padded with spaces so that the arrays start
at a multiple of 8, then each array padded to a multiple of 8.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.maps import MAPS, kind_of
from care_live.pyramid import coarser, combine_of
from care_live.reasons import described
from care_live.viewer.auto_contrast import Windows
from care_live.viewer.view_records import ContrastWindow, ViewedVolume
from care_live.viewer.web import coding, cuts
from care_live.viewer.web.fineness import Fineness
from care_live.viewer.web.requests import PageView, ViewMode
from care_live.wire.arrays import PRODUCTS, Product
from care_live.wire.messages import LATER_HEADS

_ALIGN = 8
_SIGHTS_KEPT = 4
"""Ways of looking at one volume that are kept coded."""

CodedArrays: TypeAlias = list[tuple[dict[str, Any], bytes]]
"""Coded arrays and their descriptions."""
_Sight: TypeAlias = tuple[ViewMode, tuple[int, int, int], Fineness]


class Pictures:
    """Makes pictures; a view that two browsers share is cut and coded once.

    Any thread may call it. The coded arrays of a volume live as long as the volume.
    """

    def __init__(self) -> None:
        self.windows = Windows()
        self._coded: WeakKeyDictionary[ViewedVolume, OrderedDict[_Sight, CodedArrays]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def encode(self, volumes: tuple[ViewedVolume, ...], view: PageView, fineness: Fineness) -> bytes:
        """Draw up the picture of all channels of one time point and position.

        Parameters
        ----------
        volumes : at least one volume; all of the same time point and position
        """
        shape = max(shown.shape for shown in volumes)
        at = cuts.centre(shape, view.z, view.y, view.x)
        parts = [part for shown in volumes for part in self._parts(shown, (view.mode, at, fineness))]
        header = _header(volumes, view, shape, at)
        header |= {"lossy": fineness.lossy, "level": fineness.level, "arrays": [described for described, _ in parts]}
        header["channels"] = [_channel(shown, self.windows) for shown in volumes]
        return pack(header, [data for _, data in parts])

    def _parts(self, shown: ViewedVolume, sight: _Sight) -> CodedArrays:
        with self._lock:
            known = self._coded.setdefault(shown, OrderedDict())
            if sight in known:
                known.move_to_end(sight)
                return known[sight]
        parts = self._code(shown, *sight)
        with self._lock:
            known[sight] = parts
            while len(known) > _SIGHTS_KEPT:
                known.popitem(last=False)
        return parts

    def _code(self, shown: ViewedVolume, mode: ViewMode, at: tuple[int, int, int], fineness: Fineness) -> CodedArrays:
        parts = []
        for product, plane, image in cuts.cut(shown, mode, at):
            coded, level = _code(image, product, fineness, self.windows.of(shown, product))
            place = {"product": product, "plane": plane, "channel": shown.key.c, "level": level, **_drawn(product)}
            parts.append((_describe(coded, **place), coded.data))
        return parts


def pack(header: dict[str, Any], buffers: list[bytes]) -> bytes:
    """Join a header and its arrays into one message."""
    text = msgspec.json.encode(header)
    text += b" " * (-(len(text) + 4) % _ALIGN)
    parts = [struct.pack("<I", len(text)), text]
    for data in buffers:
        parts += [data, b"\0" * (-len(data) % _ALIGN)]
    return b"".join(parts)


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Take a message apart again, as the page does."""
    (length,) = struct.unpack_from("<I", message)
    header = msgspec.json.decode(message[4 : 4 + length])
    start, buffers = 4 + length, []
    for array in header["arrays"]:
        buffers.append(message[start : start + array["nbytes"]])
        start += array["nbytes"] + (-array["nbytes"] % _ALIGN)
    return header, buffers


def _code(
    image: NDArray[Any], product: Product, fineness: Fineness, window: ContrastWindow | None
) -> tuple[coding.Coded, int]:
    """Reduce and code one array; return it with the level that it has."""
    combine = combine_of(product)
    if image.ndim == 3:
        level = cuts.volume_level((image.shape[0], image.shape[1], image.shape[2])) + fineness.level
        image = coarser(image, level, "largest" if combine == "average" else combine)  # a maximum projection stays true
        return _code_map(image, product) or coding.exact(image), level
    image = coarser(image, fineness.level, combine)
    if (coded := _code_map(image, product)) is not None:
        return (_shrunk(coded, product) if fineness.lossy else coded), fineness.level
    if fineness.lossy and window is not None:
        return coding.lossy(image, window), fineness.level
    return coding.exact(image), fineness.level


def _shrunk(coded: coding.Coded, product: Product) -> coding.Coded:
    """Return a map's codes for a slow link; of one with marks only these, and exactly."""
    kind = kind_of(product)
    return coding.shrunk(coded) if kind is None or kind.mark is None else coding.marked_only(coded, kind.mark)


def _drawn(product: Product) -> dict[str, Any]:
    """Return what the page must know to draw a map that it has no drawing of its own for."""
    kind = kind_of(product)
    return {} if kind is None else {"label": kind.label, "limits": kind.limits, "mark": kind.mark}


def _code_map(image: NDArray[Any], product: Product) -> coding.Coded | None:
    """Code a map that is no image of the specimen in 8 bits; None: it is one."""
    kind = kind_of(product)
    if kind is None or kind.coding == "affine":
        return None
    return coding.signed(image, kind.limit) if kind.may_be_negative else coding.logarithmic(image)


def _describe(coded: coding.Coded, **place: object) -> dict[str, Any]:
    return place | {
        "shape": coded.shape,
        "dtype": coded.dtype,
        "coding": coded.coding,
        "offset": coded.offset,
        "step": coded.step,
        "codec": coded.codec,
        "nbytes": len(coded.data),
    }


def _header(
    volumes: tuple[ViewedVolume, ...], view: PageView, shape: tuple[int, int, int], at: tuple[int, int, int]
) -> dict[str, Any]:
    newest = max(volumes, key=lambda shown: (shown.key.t, shown.acquired_us))
    return {
        "type": "picture",
        "revision": view.revision,
        "mode": view.mode,
        "live": view.t is None,
        "t": newest.key.t,
        "p": newest.key.p,
        "at": at,
        "shape": shape,
        "voxel_size_um": newest.voxel_size_um,
        "sequence": max(shown.sequence for shown in volumes),
        "acquired_us": newest.acquired_us,
        "conditions": None if newest.conditions is None else asdict(newest.conditions),
        "last_plane_ms": None if newest.last_plane_s is None else newest.last_plane_s * 1e3,
    }


def _channel(shown: ViewedVolume, windows: Windows) -> dict[str, Any]:
    found = {product: windows.of(shown, product) for product in ("raw", "mean")}
    return {
        "c": shown.key.c,
        "t": shown.key.t,
        "state": shown.state,
        "flags": sorted(shown.flags),
        "trust": None if shown.trust is None else asdict(shown.trust),
        "streaming": described(shown.choice),
        "model": shown.model.name if shown.model else "",
        "restored": "mean" in shown.maps,
        "n_restored": shown.n_restored,
        "before": shown.before.key.t if shown.before else None,
        "windows": {product: asdict(window) for product, window in found.items() if window is not None},
    }


def probe(
    volumes: tuple[ViewedVolume, ...], at: tuple[int, int, int], half_widths: Sequence[float]
) -> list[dict[str, Any]]:
    """Read one voxel of each channel exactly, with its interval.

    Parameters
    ----------
    at : voxel (z, y, x)
    half_widths : of each channel: half of the interval in units of b: −log(1−q) · calibration
    """
    return [_voxel(shown, at, half_width) for shown, half_width in zip(volumes, half_widths, strict=True)]


def _voxel(shown: ViewedVolume, at: tuple[int, int, int], half_width: float) -> dict[str, Any]:
    values: dict[str, float | None] = {name: _value(shown, name, at) for name in PRODUCTS}
    mean, scale = values["mean"], values["laplace_scale"]
    interval = None
    if mean is not None and scale is not None:
        interval = [mean - half_width * scale, mean + half_width * scale]
    others = {MAPS[head].label: values[head] for head in LATER_HEADS if values[head] is not None}
    return {"c": shown.key.c, "interval": interval, "others": others, **values}


def _value(shown: ViewedVolume, product: Product, at: tuple[int, int, int]) -> float | None:
    """Return one number, or None where there is none or where it is not finite."""
    image = shown.product(product)
    if image is None:
        return None
    value = float(image[tuple(map(cuts.matching, at, shown.shape, image.shape))])
    return value if np.isfinite(value) else None
