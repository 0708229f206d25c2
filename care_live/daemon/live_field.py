"""Live of a large camera: the centre of each frame at full rate, and the whole field part by part in between."""

from __future__ import annotations

from collections import deque
from dataclasses import replace as with_changes

import numpy as np
from msgspec.structs import replace

from care_live.config import LiveConfig
from care_live.daemon.live_restoring import NetworkOnLive
from care_live.daemon.live_volume import volume_of
from care_live.images import Restored, Volume, VolumeKey, read_only
from care_live.live_frame import LiveFrame
from care_live.maps import Head
from care_live.tiling import Tile, tiles

CENTRE, WHOLE_FIELD = 0, 1
"""Positions under which the two are shown."""
_EVERY = 4
"""Of the frames, one is followed by a part of the whole field."""


class FieldInParts:
    """Shows the centre of frames that are larger than the region; smaller ones whole.

    Parameters
    ----------
    network : restores both
    config : size of the region
    """

    def __init__(self, network: NetworkOnLive, config: LiveConfig) -> None:
        self._network, self._region_px = network, config.region_px
        self._left: deque[Tile] = deque()
        self._maps: dict[Head, np.ndarray[tuple[int, int], np.dtype[np.float32]]] = {}
        self._shape_px: tuple[int, ...] = ()
        self._channel = ""

    def raw(self, frame: LiveFrame, t: int) -> Volume:
        return volume_of(self._centre(frame), t)

    def show(self, frame: LiveFrame, t: int) -> tuple[Restored | Volume, ...]:
        """Return the centre of the newest frame and, when its last part is there, the whole field."""
        if not self._network.restores(frame):
            return (self.raw(frame, t),)
        centre = self._network.plane(self._centre(frame), t)
        if max(frame.pixels.shape) <= self._region_px or t % _EVERY:
            return (centre,)
        whole = self._go_on(frame, t)
        return (centre,) if whole is None else (centre, whole)

    def _centre(self, frame: LiveFrame) -> LiveFrame:
        """Return a frame cut to the region around its middle."""
        starts = [max(0, (n - self._region_px) // 2) for n in frame.pixels.shape]
        y, x = (slice(start, start + self._region_px) for start in starts)
        return with_changes(frame, pixels=frame.pixels[y, x])

    def _go_on(self, frame: LiveFrame, t: int) -> Restored | None:
        """Restore the next part from the newest frame; return the field when that was the last one."""
        card = self._network.card_of(frame)
        divisor, halo_px = card.divisor[-2:], card.halo_px[-2:]
        shape_px = tuple(n // step * step for n, step in zip(frame.pixels.shape, divisor, strict=True))
        channel = frame.conditions.channel
        if not self._left or (shape_px, channel) != (self._shape_px, self._channel):
            tile_px = [self._region_px + 2 * halo for halo in halo_px]
            self._shape_px, self._channel, self._maps = shape_px, channel, {}
            self._left = deque(tiles(shape_px, tile_px, halo_px, divisor))
        tile = self._left.popleft()
        seen = read_only(np.ascontiguousarray(frame.pixels[tile.read]))
        part = self._network.plane(with_changes(frame, pixels=seen), t, is_part=True)
        for head in card.heads:
            whole = self._maps.setdefault(head, np.zeros(shape_px, np.float32))
            whole[tile.write] = part.maps[head][0][tile.keep]
        return None if self._left else self._whole(frame, part, t)

    def _whole(self, frame: LiveFrame, part: Restored, t: int) -> Restored:
        y, x = (slice(0, n) for n in self._shape_px)
        volume = replace(volume_of(with_changes(frame, pixels=frame.pixels[y, x]), t), key=VolumeKey(t, WHOLE_FIELD))
        maps = {head: read_only(whole[None]) for head, whole in self._maps.items()}
        return replace(part, key=volume.key, sources=(volume.key,), raw=volume, maps=maps)
