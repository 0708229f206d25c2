"""How uncertain a restored pixel is relative to its signal. Calculations only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from care_live.viewer.view_records import ContrastWindow

FLOOR = 0.05
"""Share of the contrast window: a weaker signal above the background counts as this one."""


def relative(
    mean: NDArray[np.float32], laplace_scale: NDArray[np.float32], window: ContrastWindow, half_width: float
) -> NDArray[np.float32]:
    """Return half of the interval over the signal above background; 0 in the background.

    The scale follows brightness, so that showing it as it is would only show the image again.

    Parameters
    ----------
    mean, laplace_scale : (z, y, x) float32, camera counts
    window : contrast of the mean; its low end is the background
    half_width : half of the interval in units of b: −log(1−q) · calibration

    Returns
    -------
    (z, y, x) float32, 1 where the interval is as wide as ± the signal
    """
    background, floor = window.low, FLOOR * (window.high - window.low)
    signal = np.abs(mean - np.float32(background))
    share = np.float32(half_width) * laplace_scale / (signal + np.float32(floor))
    share[mean < background + floor] = 0
    return np.asarray(share, np.float32)
