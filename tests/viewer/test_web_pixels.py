"""What the page draws, pixel by pixel, against the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care_live.viewer.view_records import ViewedVolume
from tests.make.scenes import but, scene

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STEP_UM = (0.5, 0.5)
INVENTED, MISSING = (255, 122, 26), (92, 200, 255)
LUMA = np.array([0.2126, 0.7152, 0.0722])


def grey(plane: np.ndarray, low: float, high: float, gamma: float = 1.0) -> np.ndarray:
    """What a plane must look like: (y, x) in 0…255."""
    return 255 * np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1) ** gamma


def test_pixels_equal_the_array(screen, index):
    shown = index.at(2, 0)[0]
    screen.ask(z=4)
    for product, pane in (("raw", "raw"), ("mean", "restored")):
        screen.contrast(product, 60, 400)
        colours = screen.pane(pane).image((64, 96), STEP_UM)
        assert (colours.max(-1) == colours.min(-1)).all(), "one channel is grey"
        expected = grey(shown.product(product)[4], 60, 400)
        assert np.abs(colours[..., 0] - expected).max() <= 1.0


def test_gamma_brightens_the_middle_and_keeps_the_ends(screen, index):
    screen.ask(z=4)
    screen.contrast("mean", 60, 400)
    screen.look(gamma=0.5)
    colours = screen.pane("restored").image((64, 96), STEP_UM)[..., 0]
    assert np.abs(colours - grey(index.at(2, 0)[0].maps["mean"][4], 60, 400, 0.5)).max() <= 1.0


def without_disagreement(shown: ViewedVolume) -> ViewedVolume:
    return but(shown, maps={head: array for head, array in shown.maps.items() if head != "disagreement"})


def test_low_confidence_is_marked_by_hue_where_there_is_signal_and_brightness_stays(screen, index):
    shown = without_disagreement(index.at(2, 0)[0])
    scale = shown.maps["laplace_scale"].copy()
    scale[4].flat[np.abs(shown.maps["mean"][4] - 350).argmin()] = np.inf  # the network gave no number
    shown = but(shown, maps={**shown.maps, "laplace_scale": scale})
    index.cache.put(shown)
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 3")
    screen.contrast("mean", 100, 600)
    window = screen.js("careLive.header().channels[0].windows.mean")
    screen.look(threshold=0.5, layer="marked", overlay=False)
    colours = screen.pane("uncertainty").image((64, 96), STEP_UM)
    floor = 0.05 * (window["high"] - window["low"])
    signal = np.abs(shown.maps["mean"][4] - window["low"]) + floor
    half = 1.1 * np.log(10) * shown.maps["laplace_scale"][4]  # calibrated at 90 %
    marked = (half / signal > 0.56) & (shown.maps["mean"][4] > window["low"] + 2.1 * floor)
    sure = (half / signal < 0.44) | (shown.maps["mean"][4] < window["low"] + 0.9 * floor)
    spread = colours.max(-1) - colours.min(-1)
    expected = grey(shown.maps["mean"][4], 100, 600)
    assert (marked & (expected > 30)).sum() > 20
    assert (spread[marked & (expected > 30)] > 5).all()
    assert (spread[sure] <= 2).all()
    assert (np.abs(colours @ LUMA - expected) <= 1.5).all(), "rounding of three colours, in every pixel"
    assert (screen.pane("restored").image((64, 96), STEP_UM).std(-1) < 1).all(), "marks only where asked"
    screen.look(threshold=10)
    colours = screen.pane("uncertainty").image((64, 96), STEP_UM)
    np.testing.assert_array_equal(colours.std(-1) >= 1, np.isinf(scale[4]))


def test_marks_keep_the_brightness_of_the_brightest_pixels_too(screen, index):
    """Up to 97 % of white exactly; white itself has no hue, and gives in by 3 %."""
    shown = without_disagreement(index.at(2, 0)[0])
    index.cache.put(but(shown, maps=shown.maps | {"laplace_scale": np.full_like(shown.maps["mean"], 1e6)}))
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 3")
    screen.contrast("mean", 100, 300)
    screen.look(threshold=0.05, layer="marked")
    colours = screen.pane("uncertainty").image((64, 96), STEP_UM)
    expected = grey(shown.maps["mean"][4], 100, 300)
    foreground = expected > 60
    assert (expected > 0.72 * 255).sum() > 100 and (expected == 255).any()
    spread = (colours.max(-1) - colours.min(-1))[foreground]
    assert (spread > 5).all(), "every mark can be seen"
    given_in = expected - colours @ LUMA
    assert (np.abs(given_in) <= 1.5 + np.maximum(0, expected - 0.97 * 255)).all()


def test_marks_keep_the_brightness_of_a_channel_in_colour(screen, index):
    shown = without_disagreement(index.at(2, 0)[0])
    index.cache.put(shown)
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 3")
    screen.contrast("mean", 100, 600)
    screen.js("careLive.setChannel(0, { tint: [0.2, 0.8, 0.6] })")
    screen.look(threshold=0.5, layer="marked", overlay=False)
    colours, plain = (screen.pane(pane).image((64, 96), STEP_UM) for pane in ("uncertainty", "restored"))
    assert (colours != plain).any(-1).sum() > 20
    assert (np.abs(colours @ LUMA - plain @ LUMA) <= 2).all()


def test_ortho_planes_show_the_volume_from_three_sides(screen, index):
    raw = index.at(2, 0)[0].raw
    screen.ask(mode="ortho", z=4, y=20, x=50)
    screen.contrast("raw", 60, 400)
    pane, gap = screen.pane("raw"), 0.02 * 48
    xz = pane.image((12, 96), (2.0, 0.5), (32 + gap, 0))[..., 0]
    yz = pane.image((64, 12), (0.5, 2.0), (0, 48 + gap))[..., 0]
    assert np.abs(xz - grey(raw[:, 20, :], 60, 400)).max() <= 1
    assert np.abs(yz - grey(raw[:, :, 50].T, 60, 400)).max() <= 1


def projected(volume: np.ndarray, axis: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the maximum along an axis of a volume that is interpolated between voxels, at places in voxels."""
    planes = np.moveaxis(volume.astype(np.float64), axis, 0)
    y, x = (np.clip(at - 0.5, 0, size - 1) for at, size in zip((rows, columns), planes.shape[1:], strict=True))
    y0, x0 = (np.minimum(at.astype(int), size - 2) for at, size in zip((y, x), planes.shape[1:], strict=True))
    fy, fx = (y - y0)[:, None], (x - x0)[None]
    corners = [planes[:, y0 + dy][:, :, x0 + dx] for dy in (0, 1) for dx in (0, 1)]
    upper, lower = corners[0] * (1 - fx) + corners[1] * fx, corners[2] * (1 - fx) + corners[3] * fx
    return (upper * (1 - fy) + lower * fy).max(0)


def test_a_map_on_both_sides_of_0_has_two_colours_over_the_dimmed_image(screen, index):
    shown = index.at(2, 0)[0]
    sides = np.zeros_like(shown.maps["mean"])
    sides[:, 16:32], sides[:, 48:] = 30, -30
    index.cache.put(but(shown, maps={**shown.maps, "evidence": sides}))
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 5")
    screen.contrast("mean", 60, 400)
    screen.look(layer="evidence", doubtMarks=False)
    button = screen.window.find_element("css selector", '#layer [data-value="evidence"]')
    assert (button.text, button.get_attribute("aria-checked")) == ("Evidence", "true")
    colours = screen.pane("uncertainty").image((64, 96), STEP_UM)
    dimmed = 0.35 * grey(shown.maps["mean"][4], 60, 400)
    assert np.abs(colours[:16] - dimmed[:16, :, None]).max() <= 1.5
    assert np.abs(colours[16:32] - MISSING).max() <= 1 and np.abs(colours[48:] - INVENTED).max() <= 1
    screen.look(layer="marked")
    index.cache.put(shown)
    screen.until("careLive.picture.arrays.size === 4")
    assert button.get_attribute("hidden") is not None


def places(pane: Any, size_um: tuple[float, float], step_um: tuple[float, float]) -> tuple[Any, Any, Any, Any]:
    """Return the screen pixels inside a centred rectangle as slices, and their centres in its voxels."""
    found = []
    for n_px, centre, size, step in zip(
        pane.pixels.shape[:2], (pane.view["y"], pane.view["x"]), size_um, step_um, strict=True
    ):
        at_um = (np.arange(n_px) + 0.5 - n_px / 2) / pane.view["scale"] + centre + size / 2
        inside = np.flatnonzero((at_um > 0.01) & (at_um < size - 0.01))
        found.append((slice(inside[0], inside[-1] + 1), at_um[inside] / step))
    (rows, y), (columns, x) = found
    return rows, columns, y, x


def test_the_maximum_projection_is_one_and_turns(screen, index):
    """Every screen pixel is compared with the maximum along its own ray, interpolated as the graphics card does."""
    restored = index.at(2, 0)[0].maps["mean"]
    screen.ask(mode="volume")
    screen.contrast("mean", 60, 400)
    screen.look(azimuth=0, elevation=0)
    front = screen.pane("restored")
    rows, columns, y, x = places(front, (32, 48), STEP_UM)
    expected = grey(projected(restored, 0, y, x), 60, 400)
    assert expected.size > 5000
    assert np.abs(front.pixels[rows, columns, 0] - expected).max() <= 3
    screen.look(azimuth=0, elevation=np.pi / 2)
    top = screen.pane("restored")
    rows, columns, z, x = places(top, (24, 48), (2.0, 0.5))
    expected = grey(projected(restored, 1, z, x), 60, 400)
    seen = top.pixels[rows, columns, 0].astype(float)
    assert (
        min(np.abs(seen - expected).max(), np.abs(seen - grey(projected(restored, 1, 12 - z, x), 60, 400)).max()) <= 3
    )
    screen.look(azimuth=0.7, elevation=0.4)
    turned = screen.pane("restored").pixels[..., 0].astype(float)
    assert np.abs(turned - front.pixels[..., 0]).mean() > 3
    assert turned.max() == pytest.approx(grey(np.array([restored.max()]), 60, 400)[0], abs=6)


def test_channels_add_in_their_colours(screen, index):
    first, second = index.at(2, 0)[0], scene(2, c=1)
    index.cache.put(second)
    screen.until("careLive.header().channels.length === 2")
    screen.ask(z=4)
    for c in (0, 1):
        screen.js(f"careLive.chooseChannel({c})")
        screen.contrast("mean", 60, 900)
    tints = [screen.js(f"careLive.look.channels.get({c}).tint") for c in (0, 1)]
    colours = screen.pane("restored").image((64, 96), STEP_UM)
    parts = [
        np.rint(grey(one.maps["mean"][4], 60, 900)[..., None] * tint)
        for one, tint in zip((first, second), tints, strict=True)
    ]
    assert np.abs(colours - np.clip(sum(parts), 0, 255)).max() <= 2
    index.cache.put(scene(3))
    screen.until("careLive.header().t === 3")
    assert screen.js("careLive.header().channels.map(({ t }) => t)") == [3, 2], "the second one has not come yet"
    assert screen.window.find_element("css selector", '[data-pane="raw"] .pane-note').text == "channel 1 of t 2"
    screen.ask(t=2)
    screen.js("careLive.setChannel(1, { visible: false })")
    assert np.abs(screen.pane("restored").image((64, 96), STEP_UM) - parts[0]).max() <= 1
