"""How pixels travel to a browser: 16-bit exact, 8-bit logarithmic, or 8-bit WebP for a slow link.

Every coded array has its formula, as in `care_live.wire.number_codes`: ``affine``: offset + step · code; ``log2``:
2^(offset + step · code), where the page draws code 0 as 0.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from care_live.viewer.view_records import ContrastWindow
from care_live.wire import number_codes
from care_live.wire.number_codes import Codes, Coding

_WEBP_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """One array as it is sent."""

    data: bytes
    shape: tuple[int, ...]
    dtype: Literal["uint16", "uint8"]
    coding: Coding
    offset: float
    step: float
    codec: Literal["none", "webp"] = "none"


def exact(image: NDArray[Any]) -> Coded:
    """Code counts as they are, and float32 in 65,536 steps between its own smallest and largest value.

    Parameters
    ----------
    image : uint8, uint16 or float32; NaN and infinity become the smallest finite value
    """
    if image.dtype in (np.uint8, np.uint16):
        return Coded(image.astype("<u2").tobytes(), image.shape, "uint16", "affine", 0.0, 1.0)
    finite = image[np.isfinite(image)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return _sent(number_codes.affine(np.nan_to_num(image, nan=low, posinf=low, neginf=low), low, high))


def logarithmic(image: NDArray[np.float32]) -> Coded:
    """Code a positive quantity in sixteenths of an octave below its largest value."""
    return _sent(number_codes.log2(image))


def signed(image: NDArray[np.float32], limit: float | None) -> Coded:
    """Code a quantity on both sides of 0 in 255 steps up to a limit, its own where none is given; 128 is 0."""
    finite = image[np.isfinite(image)]
    largest = limit if limit is not None else float(np.abs(finite).max(initial=0.0))
    return _sent(number_codes.signed(np.nan_to_num(image), largest))


def _sent(coded: Codes) -> Coded:
    """Return codes as the page takes them."""
    dtype: Literal["uint8", "uint16"] = "uint8" if coded.codes.dtype == np.uint8 else "uint16"
    data = coded.codes.astype(coded.codes.dtype.newbyteorder("<")).tobytes()
    return Coded(data, coded.codes.shape, dtype, coded.coding, coded.zero, coded.step)


def lossy(image: NDArray[Any], window: ContrastWindow) -> Coded:
    """Code a plane in 256 steps around its window, as WebP."""
    step = (window.last - window.first) / 255
    codes = np.clip(np.rint((image.astype(np.float32) - window.first) / step), 0, 255)
    codes = np.nan_to_num(codes).astype(np.uint8)
    return Coded(webp(codes), image.shape, "uint8", "affine", window.first, step, "webp")


def shrunk(coded: Coded) -> Coded:
    """Compress a logarithmic plane as WebP too."""
    codes = np.frombuffer(coded.data, np.uint8).reshape(coded.shape)
    return Coded(webp(codes), coded.shape, "uint8", coded.coding, coded.offset, coded.step, "webp")


def marked_only(coded: Coded, mark: float) -> Coded:
    """Compress a plane on both sides of 0 as WebP, without loss where it is marked; the rest becomes 0."""
    codes = np.frombuffer(coded.data, np.uint8).reshape(coded.shape)
    values = coded.offset + coded.step * codes
    kept = np.where(np.abs(values) >= mark - coded.step / 2, codes, round(-coded.offset / coded.step)).astype(np.uint8)
    return replace(coded, data=webp(kept, lossless=True), codec="webp")


def webp(codes: NDArray[np.uint8], *, lossless: bool = False) -> bytes:
    """Compress a (y, x) plane; imported here, since a loopback viewer never needs it."""
    from PIL import Image

    buffer = io.BytesIO()
    options = {"quality": 0 if lossless else _WEBP_QUALITY, "lossless": lossless, "method": 0}
    Image.fromarray(codes, "L").convert("RGB").save(buffer, "WEBP", **options)
    return buffer.getvalue()
