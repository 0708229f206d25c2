"""What the daemon holds of a time point that is being recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from care_live.images import Volume
from care_live.percentiles import Span
from care_live.restore.channel_choice import ChannelGroup
from care_live.worker.buffers import SharedVolume


@dataclass(slots=True)
class ArrivingVolume:
    """Planes of one time point on their way to the network that reads them."""

    shared: SharedVolume
    group: ChannelGroup
    """The network, and the channels that it reads together."""
    spans: Mapping[int, Span | None]
    """Of each of these channels, in the order of the network; None: not known before its last plane."""
    planned: dict[int, tuple[int, ...]]
    """Of each channel with at least one plane so far: its z indices, in the order of its planes."""
    begun: bool
    """Inference has the order to stream it."""
    placed: set[tuple[int, int]] = field(default_factory=set)
    """Input and plane."""
    unsent: list[tuple[int, int]] = field(default_factory=list)
    n_sent: int = 0
    n_shown: int = 0
    """Restored planes that were returned before the volume was complete."""

    @property
    def known_spans(self) -> dict[int, Span]:
        return {c: span for c, span in self.spans.items() if span is not None}

    def is_complete(self, volumes: Sequence[Volume]) -> bool:
        """Return whether all planes of a time point are where inference sees them."""
        missing = any(volume.integrity.missing for volume in volumes)
        n_planes = sum(len(volume.pixels) for volume in volumes)
        in_order = tuple(volume.key.c for volume in volumes) == self.group.inputs
        return not missing and in_order and len(self.placed) == n_planes
