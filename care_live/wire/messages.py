"""The messages of protocol cl1 as frozen records; cl1.md describes every field.

A daemon sends a `Message`, a watcher a `WatcherRequest`. The numbered messages are the log of a run: a client that has
all of them has the whole run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from care_live.images import LIMITS, Closed, State
from care_live.live_frame import LiveConditions
from care_live.maps import HEADS, Head
from care_live.wire import arrays
from care_live.wire.arrays import ArrayCodec, ArrayHeader, Product, ProductName, Size
from care_live.wire.daemon_status import Status
from care_live.wire.fields import (
    Count,
    Finite,
    FlagName,
    Key,
    Micros,
    Name,
    PlaneNumbers,
    ReasonWord,
    RequestId,
    RunId,
    SessionId,
    Text,
)
from care_live.wire.plans import PlanHeader
from care_live.wire.trust_header import TrustHeader

PROTOCOL = "cl1"
FIRST_PRODUCTS: tuple[Product, ...] = ("raw", "mean", "laplace_scale", "disagreement")
"""Every side of cl1 knows these."""
LATER_HEADS: tuple[Head, ...] = tuple(head for head in HEADS if head not in FIRST_PRODUCTS)
MAX_ARRAYS = 8
MAX_CREDIT = 8
MAX_VIEW_LEVEL = 4

Arrays = Annotated[tuple[ArrayHeader, ...], msgspec.Meta(max_length=MAX_ARRAYS)]


class Model(msgspec.Struct, frozen=True):
    """Which network made a volume."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{0,64}$")]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of every message of a daemon."""

    protocol: str = PROTOCOL
    run: RunId | None
    session: SessionId
    """Drawn anew whenever a daemon starts to publish: sequence numbers count within it."""
    model: Model | None
    limits: Name = LIMITS
    count: Count | msgspec.UnsetType = msgspec.UNSET
    """Broadcast only: counts the messages of this product (or the notes) within the session."""
    not_made: Count | msgspec.UnsetType = msgspec.UNSET
    """Broadcast only: messages of this topic before this one, in the session, that there was no time to make."""


class Numbered(Sent, frozen=True, kw_only=True):
    """A message of the log, which can be requested again."""

    seq: Count | None
    """Counts from 0 within the session; null: a volume of an earlier session, read from the store."""


class NetworkHeader(msgspec.Struct, frozen=True, kw_only=True):
    """One of several networks of a run."""

    model: Model
    channels: Annotated[tuple[Count, ...], msgspec.Meta(max_length=256)] = ()
    """Restored channels that it makes; empty: all."""
    card: dict[str, Any] = {}
    """Its model card; that of the first network is the message's."""


class Start(Numbered, frozen=True, kw_only=True, tag="start", tag_field="type"):
    """A run begins or is resumed, or another network restores from here on; also the first answer to hello."""

    plan: PlanHeader
    summary: dict[str, Any] = {}
    card: dict[str, Any] = {}
    """The network's model card, where the daemon gives it: calibration, training domain."""
    networks: Annotated[tuple[NetworkHeader, ...], msgspec.Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET
    """Each with its channels, `model` first; absent: that one restores every channel."""
    newest: Count = 0
    """Highest sequence number so far."""
    left_out: tuple[FlagName, ...] | msgspec.UnsetType = msgspec.UNSET
    """What did not fit into the header, or can't be encoded: summary, card, positions, channels, stacks."""


class StreamChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a volume was restored, and why so; `care_live.reasons` has the words."""

    kind: Literal["stream", "whole"]
    reason: ReasonWord
    figures: Annotated[dict[Name, Finite], msgspec.Meta(max_length=8)] = {}
    detail: Text = ""


class VolumeMessage(Numbered, frozen=True, kw_only=True, tag="volume", tag_field="type"):
    """One volume: restored, with or without its raw one; or raw only, when its model is null."""

    key: Key
    state: State
    arrays: Arrays
    published_us: Micros
    c_in: Count
    """Channel of the raw volume; ``key`` has the output channel."""
    nth: Count | None = None
    """Counts the newest volumes of this position and channel, so that a watcher can count what it skipped; null:
    restored late."""
    sources: Annotated[tuple[Key, ...], msgspec.Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET
    """Raw volumes that the network read together; absent: that of channel `c_in`."""
    was_restored: bool | msgspec.UnsetType = msgspec.UNSET
    """True: a restored volume was published, and the store has only this raw one (yet); absent: no."""
    id: RequestId = msgspec.UNSET
    mantissa_bits: Annotated[int, msgspec.Meta(ge=1, le=23)] | msgspec.UnsetType = msgspec.UNSET
    """Restored arrays keep this many bits of float32's mantissa: they were read from the store; absent: all 23."""
    choice: StreamChoice | msgspec.UnsetType = msgspec.UNSET
    """Absent: raw only, or not known."""
    flags: Annotated[tuple[FlagName, ...], msgspec.Meta(max_length=32)] = ()
    trust: TrustHeader | msgspec.UnsetType | None = msgspec.UNSET
    """Absent: the volume was not examined."""
    closed: Closed
    expected: PlaneNumbers
    received: PlaneNumbers
    n_duplicates: Count = 0
    n_out_of_order: Count = 0
    worst_gap_ms: Finite = 0.0
    sequence_ids: Annotated[tuple[Count, ...], msgspec.Meta(max_length=4096)] = ()
    low: Finite | None = None
    high: Finite | None = None
    first_plane_us: Micros
    last_plane_us: Micros
    acquired_us: Micros
    exposure_ms: Finite | None = None
    live: LiveConditions | msgspec.UnsetType = msgspec.UNSET
    """How a frame outside any run was taken; absent: a volume of a run."""
    infer_us: Count = 0
    age_us: Micros
    """From the last plane to this message, by the daemon's monotonic clock."""


class Slab(Sent, frozen=True, kw_only=True, tag="slab", tag_field="type"):
    """Some planes of a volume that is still being restored; never repeated."""

    key: Key
    state: State
    arrays: Annotated[Arrays, msgspec.Meta(min_length=1)]
    published_us: Micros
    z_first: Count
    n_planes: Size
    """Of the whole restored volume."""


class Change(Numbered, frozen=True, kw_only=True, tag="change", tag_field="type"):
    """A provisional volume was confirmed, or became suspect. ``key`` has the raw volume's channel."""

    key: Key
    state: State
    detail: Text = ""


class Skipped(Numbered, frozen=True, kw_only=True, tag="skipped", tag_field="type"):
    """A volume that came was not restored (yet); its raw planes are stored."""

    key: Key
    reason: Literal["skipped", "failed"]
    detail: Text = ""


class End(Numbered, frozen=True, kw_only=True, tag="end", tag_field="type"):
    """The run is over."""

    reason: Literal["finished", "aborted", "failed", "stalled"]
    detail: Text = ""
    n_delivered: Count = 0
    n_refused: Count = 0


class Heartbeat(Sent, frozen=True, kw_only=True, tag="heartbeat", tag_field="type"):
    """Every second: the daemon runs, and this is its state."""

    newest: Count | None
    """Highest sequence number so far; null before the first."""
    now_us: Micros
    status: Status = Status()
    n_watchers: Count = 0
    broadcast_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    """Where the same machine broadcasts, for those who want slabs too; null: not known."""


class Gap(Sent, frozen=True, kw_only=True, tag="gap", tag_field="type"):
    """A requested volume will not come; there is always an answer."""

    first: Count | None = None
    last: Count | None = None
    key: Key | None = None
    reason: ReasonWord
    """forgotten, not-stored, unreadable, other-session, future, busy, or one that a newer daemon knows."""
    detail: Text = ""
    id: RequestId = msgspec.UNSET


class Refused(Sent, frozen=True, kw_only=True, tag="refused", tag_field="type"):
    """A request is invalid or not allowed."""

    reason: ReasonWord
    """protocol, role, too-many-watchers, or one that a newer daemon knows."""
    detail: Text = ""
    id: RequestId = msgspec.UNSET


Message: TypeAlias = Start | VolumeMessage | Slab | Change | Skipped | End | Heartbeat | Gap | Refused


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a watcher wants of each volume."""

    products: Annotated[tuple[Product, ...], msgspec.Meta(min_length=1, max_length=4)] = FIRST_PRODUCTS
    also: Annotated[tuple[ProductName, ...], msgspec.Meta(max_length=8)] | msgspec.UnsetType = msgspec.UNSET
    """Maps beside `FIRST_PRODUCTS`: a daemon leaves out those that it does not know."""
    quantised: bool = False
    codec: ArrayCodec = "none"
    level: Annotated[int, msgspec.Meta(ge=0, le=MAX_VIEW_LEVEL)] = 0
    """Rows and columns are downsampled by 2^level."""
    origin_px: tuple[arrays.Origin, arrays.Origin, arrays.Origin] = (0, 0, 0)
    """(z, y, x) of the region, in voxels of the level."""
    shape_px: tuple[Size, Size, Size] | None = None
    """(z, y, x) of the region, clipped to the volume; null: all the rest."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """All requested products."""
        return self.products if self.also is msgspec.UNSET else (*self.products, *self.also)


EVERYTHING = View(also=LATER_HEADS or msgspec.UNSET)
ONE_VOXEL = View(products=("mean",), shape_px=(1, 1, 1))
"""For those who want no pixels, but what is said of a volume, or whether it is restored."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    protocol: str = PROTOCOL


class Hello(_Request, frozen=True, kw_only=True, tag="hello", tag_field="type"):
    """The first message of a client: answered with the start of the run, if there is one, or a heartbeat."""

    name: Name = ""


class Newest(_Request, frozen=True, kw_only=True, tag="newest", tag_field="type"):
    """Send the newest volume after `after` of each wanted channel and position, while fewer than `credit` are in
    flight."""

    session: SessionId | None = None
    """The one in which `after` was counted; another one, or null: whatever is newest."""
    after: Annotated[int, msgspec.Meta(ge=-1, lt=2**53)] = -1
    last: Count | None = None
    """The volume that came last: it and all that were sent before it on this connection have arrived."""
    credit: Annotated[int, msgspec.Meta(ge=1, le=MAX_CREDIT)] = 1
    p: Count | None = None
    c: Count | None = None
    view: View = View()


class Replay(_Request, frozen=True, kw_only=True, tag="replay", tag_field="type"):
    """Send every message of the log from `first` on, and what follows, while fewer than `credit` are in flight."""

    session: SessionId
    first: Count
    credit: Annotated[int, msgspec.Meta(ge=1, le=MAX_CREDIT)] = 1
    view: View = View()


class Fetch(_Request, frozen=True, kw_only=True, tag="fetch", tag_field="type"):
    """Send one volume by its key, from memory or from the store."""

    key: Key
    view: View = View()
    id: RequestId = msgspec.UNSET
    """Comes back in the answer."""


WatcherRequest: TypeAlias = Hello | Newest | Replay | Fetch
