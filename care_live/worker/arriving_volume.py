"""What the daemon holds of a time point that is being recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from care_live.images import Counts, Volume, VolumeKey
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
    read: tuple[VolumeKey, ...]
    """All that the network reads, in its order."""
    past: tuple[tuple[Counts, ...] | None, ...] = ()
    """Of each earlier time point that the network reads, the pixels (z, y, x) of these channels; None: those of the
    later one before it stand in, see `restore.past`."""
    placed: set[tuple[int, int]] = field(default_factory=set)
    """Input and plane."""
    unsent: list[tuple[int, int]] = field(default_factory=list)
    n_sent: int = 0
    n_shown: int = 0
    """Restored planes that were returned before the volume was complete."""

    @property
    def known_spans(self) -> dict[int, Span]:
        return {c: span for c, span in self.spans.items() if span is not None}

    def place(self, c: int, z: int, pixels: Counts) -> None:
        """Copy a plane to shared memory, with those of earlier time points that the network reads beside it.

        Parameters
        ----------
        c, z : channel of the run, and the plane's place among those of its channel
        pixels : (y, x)
        """
        channel, n_channels = self.group.inputs.index(c), len(self.group.inputs)
        for back, row in enumerate((None, *self.past)):
            pixels = pixels if row is None else row[channel][z]
            plane = (back * n_channels + channel, z)
            np.copyto(self.shared.pixels[plane[0]][z], pixels)
            self.placed.add(plane)
            self.unsent.append(plane)

    def is_complete(self, read: Sequence[Volume]) -> bool:
        """Return whether all planes of what a network reads are where inference sees them."""
        missing = any(volume.integrity.missing for volume in read[: len(self.group.inputs)])
        n_planes = sum(len(volume.pixels) for volume in read)
        in_order = tuple(volume.key for volume in read) == self.read
        return not missing and in_order and len(self.placed) == n_planes
