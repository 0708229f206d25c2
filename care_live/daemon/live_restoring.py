"""How a live frame is restored: a network on the newest frame, a 3D network on a focus sweep, or a running average."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from care_live.config import SHOW_LIVE, Config, LiveConfig, RestoreConfig
from care_live.daemon.live_volume import as_live, volume_of
from care_live.images import Integrity, ModelIdentity, Restored, Volume, VolumeKey, read_only
from care_live.live_frame import LIVE_POSITION, LiveFrame
from care_live.model.card import ModelCard
from care_live.model.file import shipped
from care_live.worker.client import RestoreProcess

_ONE_FOR_ALL: Mapping[str, int] = {}
_SETTINGS = 64
"""Combinations of channel, exposure and laser that have an intensity range of their own."""
_SAME_HEIGHT_UM = 0.01


def restoring(config: Config) -> RestoreConfig:
    """Return how to restore; a source that shows Live gets the quick network, where none is named."""
    if config.source.kind not in SHOW_LIVE or config.restore.model is not None:
        return config.restore
    return config.restore.model_copy(update={"model": shipped("live2d")})


class FocusSweep:
    """The last frames of a focus stage that moves one way: a stack for a 3D network.

    Parameters
    ----------
    n_planes : that it keeps
    """

    def __init__(self, n_planes: int) -> None:
        self._frames: deque[LiveFrame] = deque(maxlen=n_planes)

    def add(self, frame: LiveFrame) -> tuple[list[LiveFrame], int]:
        """Return the frames from the lowest to the highest, and the place of the new one among them.

        A frame at the height of the last one takes its place. Where the stage turns round, or anything but the height
        changes, the new frame begins anew.
        """
        if self._frames and not _same_settings(self._frames[-1], frame):
            self._frames.clear()
        step_um = self._step_um(frame)
        if self._frames and abs(step_um) < _SAME_HEIGHT_UM:
            self._frames.pop()
            step_um = self._step_um(frame)
        if len(self._frames) > 1 and step_um * self._last_step_um() < 0:
            self._frames.clear()
        self._frames.append(frame)
        frames = list(self._frames)
        return (frames[::-1], 0) if self._last_step_um() < 0 else (frames, len(frames) - 1)

    def _step_um(self, frame: LiveFrame) -> float:
        return _height_um(frame) - _height_um(self._frames[-1]) if self._frames else 0.0

    def _last_step_um(self) -> float:
        return _height_um(self._frames[-1]) - _height_um(self._frames[-2]) if len(self._frames) > 1 else 0.0


class NetworkOnLive:
    """Runs the networks that the runs have, in the same process; their range for Live follows slowly.

    Parameters
    ----------
    restorer : the inference process
    config : planes of a sweep
    channels : the network of each channel, by name; empty: one restores all
    """

    def __init__(
        self, restorer: RestoreProcess, config: LiveConfig, channels: Mapping[str, int] = _ONE_FOR_ALL
    ) -> None:
        self._restorer, self._channels = restorer, channels
        self._sweep = FocusSweep(config.sweep_planes)
        self._places: dict[tuple[object, ...], int] = {}

    def restores(self, frame: LiveFrame) -> bool:
        """Return whether a network restores the channel of a frame by itself; others are shown as they come."""
        number = self._number_of(frame)
        return number is not None and (not self._channels or len(self.card_of(frame).channels_in) == 1)

    def card_of(self, frame: LiveFrame) -> ModelCard:
        """Return the card of the network that restores a frame."""
        return self._restorer.networks[self._number_of(frame) or 0].card

    def _number_of(self, frame: LiveFrame) -> int | None:
        """Return the number of the network that restores a frame; the first one where its channel is not known."""
        channel = frame.conditions.channel
        return self._channels.get(channel) if self._channels and channel else 0

    def plane(self, frame: LiveFrame, t: int, *, is_part: bool = False) -> Restored:
        """Return the restored plane of a frame.

        Parameters
        ----------
        is_part : of a larger field: alone, and with a range that all its parts share
        """
        volume = volume_of(frame, t)
        is_stack = "Z" in self.card_of(frame).axes and not is_part
        frames, at = self._sweep.add(frame) if is_stack else ([frame], 0)
        stack = replace(
            volume,
            key=VolumeKey(t, LIVE_POSITION, self._place_of(frame, is_part)),
            pixels=read_only(np.stack([one.pixels for one in frames])) if len(frames) > 1 else volume.pixels,
            integrity=Integrity(tuple(range(len(frames))), tuple(range(len(frames)))),
        )
        restored = self._restorer.restore((stack,), network=self._number_of(frame))[0]
        maps = {head: _plane(array, at, len(frames)) for head, array in restored.maps.items()}
        return as_live(replace(restored, maps=maps), volume)

    def _place_of(self, frame: LiveFrame, is_part: bool) -> int:
        """Return the number of the settings under which a frame was taken; the range is learnt for each."""
        now = frame.conditions
        settings = (now.channel, now.exposure_ms, now.laser, is_part)
        return self._places.setdefault(settings, len(self._places) % _SETTINGS)


class RunningAverage:
    """The mean of the last frames of one place, for those who want no network: noise falls, and what moves smears.

    Parameters
    ----------
    config : its number of frames
    """

    def __init__(self, config: LiveConfig) -> None:
        self._n_most = config.average_frames
        self._model = ModelIdentity(f"running average of {config.average_frames}", "")
        self._last: LiveFrame | None = None
        self._mean: NDArray[np.float32] | None = None
        self._n = 0

    def raw(self, frame: LiveFrame, t: int) -> Volume:
        return volume_of(frame, t)

    def show(self, frame: LiveFrame, t: int) -> tuple[Restored, ...]:
        """Return the running average with a further frame; a moved stage or another setting begins it anew."""
        pixels = frame.pixels.astype(np.float32)
        if self._last is None or self._mean is None or not _same_place(self._last, frame):
            self._n, self._mean = 0, pixels
        self._n = min(self._n + 1, self._n_most)
        self._mean = self._mean + (pixels - self._mean) * np.float32(1 / self._n)
        self._last = frame
        volume = volume_of(frame, t)
        shown = Restored(
            key=volume.key,
            sources=(volume.key,),
            maps={"mean": read_only(self._mean[None])},
            voxel_size_um=volume.voxel_size_um,
            low=0.0,
            high=1.0,
            model=self._model,
            raw=volume,
        )
        return (shown,)


def _plane(stack: NDArray[np.float32], at: int, n: int) -> NDArray[np.float32]:
    """Return the plane of a map, which may be coarser along z, where frame `at` of n lies."""
    z = at * len(stack) // n
    return stack[z : z + 1]


def _settings_of(frame: LiveFrame) -> tuple[object, ...]:
    now = frame.conditions
    return now.channel, now.exposure_ms, now.laser, frame.pixels.shape, frame.pixels.dtype.name


def _same_settings(one: LiveFrame, other: LiveFrame) -> bool:
    return _settings_of(one) == _settings_of(other)


def _same_place(one: LiveFrame, other: LiveFrame) -> bool:
    return _same_settings(one, other) and abs(_height_um(one) - _height_um(other)) < _SAME_HEIGHT_UM


def _height_um(frame: LiveFrame) -> float:
    return frame.conditions.z_um or 0.0
