"""The requests that a browser may send, as strict records: anything else closes its connection."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from care_live.wire.codec import Codec

ViewMode: TypeAlias = Literal["slice", "max", "ortho", "volume"]
Quality: TypeAlias = Literal["auto", "exact", "lossy"]
_Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]

MAX_REQUEST_BYTES = 4096
CREDIT = 2
"""Pictures that may be in flight to one browser: more would only be older."""


class PageView(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="view"):
    """Which pictures to send from now on."""

    revision: _Index = 0
    """Counts in the page; comes back with each picture."""
    mode: ViewMode = "slice"
    t: _Index | None = None
    """None follows the newest volume."""
    p: _Index | None = None
    """None follows the newest position."""
    z: _Index | None = None
    """None: the middle plane."""
    y: _Index | None = None
    x: _Index | None = None
    quality: Quality = "auto"


class Credit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="credit"):
    """The page has drawn a picture and can take another."""

    n: Annotated[int, msgspec.Meta(ge=1, le=CREDIT)] = 1


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="probe"):
    """A request for the exact numbers at one voxel of the volume on the screen."""

    t: _Index
    p: _Index
    z: _Index
    y: _Index
    x: _Index
    level: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.9
    """Central mass of the interval."""


class PagePing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ping"):
    """Comes back with the gateway's monotonic clock, so that the page knows the age of what it shows."""

    sent_ms: float


PageRequest: TypeAlias = PageView | Credit | Probe | PagePing
_codec: Codec[PageRequest] = Codec(PageRequest, "request", limit_bytes=MAX_REQUEST_BYTES)


def parse(text: str) -> PageRequest:
    """Decode one request.

    Raises
    ------
    ProtocolError
        The text is too long, not JSON, or not a request.
    """
    return _codec.decode(text.encode())
