"""Simulated nuclei: laid out as nuclei are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from care_live.simulate.nuclei import Nucleus, apart_um, draw_nuclei, scatter


def test_bodies_are_as_large_as_nuclei_whatever_the_pixels_are() -> None:
    for pixel_um in (0.3, 0.6):
        n_px = int(48 / pixel_um)
        widths = []
        for seed in range(4):
            plane = draw_nuclei(seed, (6, n_px, n_px), (1.0, pixel_um, pixel_um))[3]
            bodies, n = ndimage.label(ndimage.gaussian_filter(plane, 1.0 / pixel_um) > 0.1)
            areas_um2 = ndimage.sum_labels(np.ones_like(plane), bodies, range(1, n + 1)) * pixel_um**2
            widths += list(2 * np.sqrt(areas_um2 / np.pi))
        assert 6 < np.quantile(widths, 0.75) < 20


def test_nuclei_keep_apart_and_differ_in_brightness() -> None:
    laid = scatter(np.random.default_rng(5), (10.0, 120.0, 120.0))
    pairs = [(one, other) for i, one in enumerate(laid) for other in laid[:i]]
    assert len(laid) > 20
    assert all(apart_um(one, other) > 0.9 * (one.radius_um + other.radius_um) for one, other in pairs)
    brightness = [nucleus.brightness for nucleus in laid]
    assert max(brightness) > 1.5 * min(brightness)


def test_the_longer_axis_lies_at_its_angle() -> None:
    nucleus = Nucleus((0, 0, 0), (1, 4, 2), angle=np.pi / 6, brightness=1)
    tip_um = 4 * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    z, along, across = nucleus.along((np.zeros(1), tip_um[:1], tip_um[1:]))
    assert (z[0], along[0], across[0]) == pytest.approx((0, 4, 0), abs=1e-12)
