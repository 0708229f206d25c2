"""The messages between the daemon and its inference process, over a private pipe; arrays lie in shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from care_live.images import ModelIdentity, RestoredHead, VolumeHead, VolumeKey
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.reasons import Choice
from care_live.restore.ranges import LearntRanges
from care_live.wire.codec import Codec
from care_live.worker.shared_memory import ArrayAddress


class NetworkReady(msgspec.Struct, frozen=True):
    """A network is checked and warm."""

    card: ModelCard
    identity: ModelIdentity
    provider: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """All networks are open."""

    networks: tuple[NetworkReady, ...]
    """By number, as `RestoreConfig.networks` lists them."""
    limit_bytes: int = 0
    """Of the memory that all networks may hold together between their volumes."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An error of care_live, by the name of its type, so that the daemon can raise it again."""

    kind: str
    message: str


class WarmUp(msgspec.Struct, frozen=True, tag=True):
    """Volumes of this shape will come: make sessions, find tiles that fit, run once."""

    shape: tuple[int, int, int]
    """(z, y, x)"""


class Begin(msgspec.Struct, frozen=True, tag=True):
    """The first plane of a time point is about to come; the range of every channel is known."""

    key: VolumeKey
    """Of its first channel."""
    pixels: tuple[ArrayAddress, ...]
    """(z, y, x) of each channel, filled plane by plane."""
    progress: ArrayAddress
    """(2,) int64; see `care_live.restore.volume_stream.PlaneProgress`."""
    results: Mapping[Head, ArrayAddress]
    spans: tuple[Span, ...]
    plane_s: float
    """Recent time from one plane to the next."""
    network: int = 0
    """Number of the network that streams it."""


class PlanesPlaced(msgspec.Struct, frozen=True, tag=True):
    """Planes of a time point are in place."""

    key: VolumeKey
    """Of its first channel."""
    planes: tuple[tuple[int, int], ...]
    """Channel, counted in the order of the network, and z."""


class Abandon(msgspec.Struct, frozen=True, tag=True):
    """A volume left the daemon's table before its last plane: drop it."""

    key: VolumeKey
    """Of its first channel."""
    choice: Choice
    """Why it left."""


class Work(msgspec.Struct, frozen=True, tag=True):
    """Restore one time point."""

    volumes: tuple[VolumeHead, ...]
    pixels: tuple[ArrayAddress, ...]
    """Of each volume."""
    results: Mapping[Head, ArrayAddress]
    """Where (c_out, z, y, x) of each head goes."""
    memories: LearntRanges
    """Ranges of earlier volumes: the daemon keeps them, since this process may be killed."""
    alive: frozenset[int]
    """Shared segments that still exist."""
    choice: Choice | None = None
    """Why it is not streamed; None: it was begun plane by plane, all its planes came, and inference decides."""
    network: int = 0
    """Number of the network that restores it."""
    outputs: tuple[int, ...] = ()
    """Channel of each result; empty: as `ChannelGroup.outputs` counts them."""

    @property
    def n_px(self) -> int:
        """Raw voxels of all channels."""
        return sum(math.prod(place.shape) for place in self.pixels)


class Done(msgspec.Struct, frozen=True, tag=True):
    """One time point is restored."""

    results: tuple[RestoredHead, ...]
    """One for each output channel."""
    maps: tuple[tuple[Head, ...], ...]
    """Of each result, which there are of those that there was memory for."""
    memories: LearntRanges
    choice: Choice
    """Whether it was streamed, and why."""
    held_bytes: tuple[int, ...] = ()
    """By each of several networks, between its volumes."""


class StopInference(msgspec.Struct, frozen=True, tag=True):
    """End."""


InferenceRequest: TypeAlias = WarmUp | Begin | PlanesPlaced | Abandon | Work | StopInference
"""What the child may receive."""
InferenceAnswer: TypeAlias = Ready | Done | Failed
"""What the daemon may receive. The child runs networks of others, so the daemon unpickles nothing of it."""

requests: Codec[InferenceRequest] = Codec(InferenceRequest, "request to inference", form="msgpack")
answers: Codec[InferenceAnswer] = Codec(InferenceAnswer, "answer of inference", form="msgpack")
