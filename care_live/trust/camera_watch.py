"""Which camera takes a run: that of a file, while the noise of the run agrees with it, else as the run shows it."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import TransferPoint, camera_of, transfer_points
from care_live.trust.seen_noise import NoisePoints, differences, noise_in, noise_points

LEARN_VOLUMES = 8
"""From which a camera is learnt."""
_RECENT = 4
"""Looks at the run that say whether a camera file is of this camera: a person may change its mode meanwhile."""


class CameraWatch:
    """Learns from the volumes of a run which camera takes it.

    Parameters
    ----------
    given : of a camera file; None: the config names no file
    """

    def __init__(self, given: CameraModel | None) -> None:
        self._given = given
        self._estimated: CameraModel | None = None
        self._points: deque[tuple[TransferPoint, ...]] = deque(maxlen=_RECENT if given else LEARN_VOLUMES)
        self._noise: deque[NoisePoints] = deque(maxlen=_RECENT)
        self.against: tuple[str, ...] = ()
        """Why the file is of another camera, in words; () while it may be of this one."""

    @property
    def camera(self) -> CameraModel | None:
        """What counts are compared with; None: no file is given, and the volumes so far do not show the camera."""
        return self._estimated if self._given is None or self.against else self._given

    def look(self, raw: NDArray[Any], predicted: NDArray[Any] | None, without: NDArray[np.bool_] | None = None) -> None:
        """Take a volume of the run; without a file it changes nothing once the camera is learnt.

        Parameters
        ----------
        raw, predicted : (z, y, x) counts, of the camera and as its restoration has them; None: it has one plane for
            all, in which fine structures of each plane would pass for noise, and the file is judged by nothing
        without : (y, x) pixels that are broken: no part of the noise
        """
        if self._given is None and self._estimated is not None and len(self._points) == LEARN_VOLUMES:
            return
        self._points.append(transfer_points(raw))
        says = f"estimated from {len(self._points)} volume{'s' if len(self._points) > 1 else ''} of this run"
        self._estimated = (
            camera_of(tuple(point for points in self._points for point in points), says) or self._estimated
        )
        if self._given is None or predicted is None:
            return
        noise = noise_points(raw, predicted, without=without)
        if noise is not None and np.isfinite(noise.left).all():
            self._noise.append(noise)
            self.against = differences(self._given, noise_in(self._noise))
