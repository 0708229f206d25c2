"""Arrays on the wire: headers of buffers, numbers as codes, and strict checks of both.

Pure. A product travels *plain* (the dtype it has), *affine* (uint16, ``value = zero + step·code``) or *log2*
(uint8, ``value = 2^(zero + step·code)``, code 255: infinite). Quantising beats casting: float16 has no 65536.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.checksum import crc32c
from care_live.errors import ConfigError, ProtocolError
from care_live.images import read_only
from care_live.imports import need
from care_live.maps import HEADS, MAPS, MAX_LEVEL, Head, kind_of
from care_live.wire import number_codes
from care_live.wire.number_codes import Codes, Coding

Product: TypeAlias = Literal["raw"] | Head
PRODUCTS: tuple[Product, ...] = ("raw", *HEADS)
ProductName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}$")]
"""One of `Product`, or one that a newer daemon knows."""
ArrayCodec = Literal["none", "blosc2"]
Buffer: TypeAlias = bytes | memoryview | NDArray[Any]

MAX_BYTES = 2 * 1024**3
"""Of one array, on the wire and unpacked."""

Size = Annotated[int, msgspec.Meta(ge=1, le=65536)]
Origin = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Length = Annotated[float, msgspec.Meta(gt=0, le=1e9)]

_QUANTISED: dict[str, tuple[Coding, str]] = {
    "affine": ("affine", "<u2"),
    "log2": ("log2", "|u1"),
    "signed": ("affine", "|u1"),
}
"""How each `care_live.maps.MapKind.coding` travels."""


class ArrayHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Of one buffer; the fields are described in cl1.md."""

    product: ProductName
    dtype: Literal["|u1", "<u2", "<f4"]
    shape: tuple[Size, Size, Size]
    axes: Literal["zyx"] = "zyx"
    coding: Coding = "plain"
    step: float = 1.0
    zero: float = 0.0
    unit: Literal["counts", "1"] = "counts"
    codec: ArrayCodec = "none"
    nbytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_BYTES)]
    crc32c: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    level: Annotated[int, msgspec.Meta(ge=0, le=MAX_LEVEL)] = 0
    origin_px: tuple[Origin, Origin, Origin] = (0, 0, 0)
    voxel_size_um: tuple[Length, Length, Length]

    @property
    def unpacked_bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=object))


def encode(
    product: Product,
    values: NDArray[Any],
    *,
    voxel_size_um: tuple[float, float, float],
    quantised: bool = False,
    codec: ArrayCodec = "none",
    level: int = 0,
    origin_px: tuple[int, int, int] = (0, 0, 0),
) -> tuple[ArrayHeader, Buffer]:
    """Describe one product and return the buffer to send; plain arrays are sent as they lie in memory.

    Where blosc2 is not installed, arrays travel unpacked, and the header says so.

    Parameters
    ----------
    values : (z, y, x) uint8 or uint16 camera counts, or float32; neither NaN nor, but for a scale, infinity

    Raises
    ------
    ProtocolError
        The values cannot travel: NaN, a wrong type or a wrong number of axes.
    """
    coded = _codes(product, values, quantised)
    codec = codec if codec == "none" else codec_here()
    buffer = _pack(coded.codes, codec)
    header = ArrayHeader(
        product=product,
        dtype=cast(Literal["|u1", "<u2", "<f4"], coded.codes.dtype.newbyteorder("<").str),
        shape=cast(tuple[int, int, int], coded.codes.shape),
        coding=coded.coding,
        step=coded.step,
        zero=coded.zero,
        unit="counts" if (kind := kind_of(product)) is None else kind.unit,
        codec=codec,
        nbytes=as_bytes(buffer).nbytes,
        crc32c=crc32c(buffer),
        level=level,
        origin_px=origin_px,
        voxel_size_um=voxel_size_um,
    )
    _check(header)
    return header, buffer


def decode(header: ArrayHeader, buffer: Buffer) -> NDArray[Any]:
    """Return the codes of one buffer, (z, y, x), read-only, after every check that can be made.

    Raises
    ------
    ProtocolError
        Size, type, coding or checksum differ from the header, or a value is NaN.
    """
    _check(header)
    data = as_bytes(buffer)
    if len(data) != header.nbytes:
        raise ProtocolError(f"{header.product} has {len(data)} bytes where its header says {header.nbytes}")
    if (found := crc32c(data)) != header.crc32c:
        raise ProtocolError(f"{header.product} was damaged: CRC32C {found:08x}, the header says {header.crc32c:08x}")
    codes = np.frombuffer(_unpack(header, data), header.dtype).reshape(header.shape)
    if codes.dtype.kind == "f" and not _is_finite(codes):
        raise ProtocolError(f"{header.product} contains NaN or infinity, which never travel")
    return read_only(codes)


def values(header: ArrayHeader, codes: NDArray[Any]) -> NDArray[Any]:
    """Return what the codes mean: camera counts as they were, or float32; read-only."""
    if header.coding == "plain":
        if _may_be_infinite(header.product) and (endless := codes == _LARGEST).any():
            return read_only(np.where(endless, np.float32(np.inf), codes))
        return codes
    return read_only(number_codes.values(Codes(codes, header.coding, header.step, header.zero)))


def codec_here() -> ArrayCodec:
    """Return how arrays can be packed here: a wish for blosc2 must not stop a daemon that was installed without."""
    try:
        need("blosc2", extra="view")
    except ConfigError:
        return "none"
    return "blosc2"


def as_bytes(buffer: Buffer) -> memoryview:
    """Return a contiguous buffer as bytes, without a copy."""
    return memoryview(buffer).cast("B")  # type: ignore[arg-type]  # numpy arrays are buffers


_LARGEST = np.finfo(np.float32).max
"""Stands for an infinite Laplace scale in plain float32."""


def _codes(product: Product, given: NDArray[Any], quantised: bool) -> Codes:
    if given.ndim != 3:
        raise ProtocolError(f"{product} has shape {given.shape}: wanted (z, y, x)")
    if product == "raw":
        return Codes(np.ascontiguousarray(given), "plain", 1.0, 0.0)
    if given.dtype != np.float32:
        raise ProtocolError(f"{product} is {given.dtype}: wanted float32")
    low, high = float(given.min()), float(given.max())
    if np.isnan(low) or low == -np.inf or (high == np.inf and not _may_be_infinite(product)):
        raise ProtocolError(f"{product} contains NaN or infinity, which never travel: replace and flag them first")
    kind = MAPS[product]
    if not quantised and kind.limit is not None and kind.coding == "signed":
        exact = number_codes.signed(given, kind.limit)  # of a map that was made in these steps
        quantised = np.array_equal(number_codes.values(exact), given)
    if not quantised:
        return Codes(np.ascontiguousarray(np.minimum(given, _LARGEST) if high == np.inf else given), "plain", 1.0, 0.0)
    if kind.coding == "signed":
        return number_codes.signed(given, kind.limit or max(high, -low))
    return number_codes.affine(given, low, high) if kind.coding == "affine" else number_codes.log2(given)


def _check(header: ArrayHeader) -> None:
    allowed = _dtypes(header.product, header.coding)
    if header.dtype not in allowed:
        raise ProtocolError(f"{header.product} as {header.coding} {header.dtype}: wanted one of {allowed or 'none'}")
    if header.unpacked_bytes > MAX_BYTES:
        raise ProtocolError(f"{header.product} would be {header.unpacked_bytes} bytes: at most {MAX_BYTES} are taken")
    if header.codec == "none" and header.unpacked_bytes != header.nbytes:
        raise ProtocolError(f"{header.product} of shape {header.shape} is not {header.nbytes} bytes")
    if not (
        np.isfinite(header.step) and np.isfinite(header.zero) and 0 < header.step < 1e30 and abs(header.zero) < 1e30
    ):
        raise ProtocolError(
            f"{header.product} has step {header.step} and zero {header.zero}: wanted numbers that codes can have"
        )


def _dtypes(product: str, coding: Coding) -> tuple[str, ...]:
    """Return the types of the codes that a product may have in a coding."""
    kind = kind_of(product)
    if kind is None:
        return ("|u1", "<u2") if coding == "plain" else ()
    quantised, dtype = _QUANTISED[kind.coding]
    return {"plain": ("<f4",), quantised: (dtype,)}.get(coding, ())


def _may_be_infinite(product: str) -> bool:
    """Return whether infinity stands where the network gave no number."""
    kind = kind_of(product)
    return kind is not None and kind.mended == np.inf


def _is_finite(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _pack(codes: NDArray[Any], codec: ArrayCodec) -> Buffer:
    if sys.byteorder == "big":
        codes = codes.astype(codes.dtype.newbyteorder("<"))
    if codec == "none":
        return codes
    blosc2 = need("blosc2", extra="view")
    packed: bytes = blosc2.compress2(
        codes,
        typesize=codes.dtype.itemsize,
        codec=blosc2.Codec.LZ4,
        clevel=1,
        filters=[blosc2.Filter.BITSHUFFLE],
        filters_meta=[0],
        nthreads=1,
    )
    return packed


def _unpack(header: ArrayHeader, data: memoryview) -> Buffer:
    """Return the codes' bytes; what a blosc2 frame says of its size is checked before a byte is unpacked."""
    if header.codec == "none":
        return data
    try:
        blosc2 = need("blosc2", extra="view")
    except ConfigError as error:
        raise ProtocolError(f"{header.product} came packed: {error}") from error
    packed = bytes(data)
    try:
        stated, packed_bytes, _ = blosc2.get_cbuffer_sizes(packed)
        if stated != header.unpacked_bytes or packed_bytes != len(packed):
            raise ProtocolError(f"{header.product} unpacks to {stated} bytes: wanted {header.unpacked_bytes}")
        unpacked: bytes = blosc2.decompress2(packed, nthreads=1)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ProtocolError(f"{header.product} cannot be unpacked: {error}") from error
    if len(unpacked) != header.unpacked_bytes:
        raise ProtocolError(f"{header.product} unpacked to {len(unpacked)} bytes: wanted {header.unpacked_bytes}")
    return unpacked
