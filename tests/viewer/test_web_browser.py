"""The page in a real browser: what is on the screen is checked against the arrays."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from care_live.viewer.shown import Shown

from .browser import Screen
from .scenes import scene, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(120)]

STEP_UM = (0.5, 0.5)
LUMA = np.array([0.2126, 0.7152, 0.0722])


def grey(plane: np.ndarray, low: float, high: float, gamma: float = 1.0) -> np.ndarray:
    """What a plane must look like: (y, x) in 0…255."""
    return 255 * np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1) ** gamma


def test_pixels_equal_the_array(screen, library):
    shown = library.at(2, 0)[0]
    screen.ask(z=4)
    for product, pane in (("raw", "raw"), ("restored", "restored")):
        screen.contrast(product, 60, 400)
        colours = screen.pane(pane).image((64, 96), STEP_UM)
        assert (colours.max(-1) == colours.min(-1)).all(), "one channel is grey"
        expected = grey(shown.product(product)[4], 60, 400)
        assert np.abs(colours[..., 0] - expected).max() <= 1.0


def test_the_first_picture_does_not_wait_for_the_next_volume(window, library, record_property):
    """Nothing more is published after the page was opened, and the newest volume is drawn."""
    with serving(library) as (_, address):
        screen = Screen(window, address)
        assert screen.js("careLive.header().t") == 2
        assert library.shelf.count == 3
        record_property("first_picture_ms", screen.js("careLive.firstDrawn"))
        print(f"first picture after {screen.js('careLive.firstDrawn'):.0f} ms")
        window.get("about:blank")


def test_gamma_brightens_the_middle_and_keeps_the_ends(screen, library):
    screen.ask(z=4)
    screen.contrast("restored", 60, 400)
    screen.look(gamma=0.5)
    colours = screen.pane("restored").image((64, 96), STEP_UM)[..., 0]
    assert np.abs(colours - grey(library.at(2, 0)[0].restored[4], 60, 400, 0.5)).max() <= 1.0


def test_arrows_walk_through_z_and_t(screen, library):
    from selenium.webdriver.common.keys import Keys

    screen.ask(z=4)
    screen.press(Keys.ARROW_UP)
    screen.settled()
    assert screen.js("careLive.header().at[0]") == 5
    screen.until("careLive.times.length === 3")
    screen.press(Keys.ARROW_LEFT)
    screen.settled()
    assert screen.js("careLive.header().t") == 1
    screen.contrast("raw", 60, 400)
    colours = screen.pane("raw").image((64, 96), STEP_UM)[..., 0]
    assert np.abs(colours - grey(library.at(1, 0)[0].raw[5], 60, 400)).max() <= 1.0


def test_following_never_steals_the_slider(screen, library):
    screen.until("careLive.times.length === 3")
    screen.js(
        "(document.getElementById('time').value = 0, document.getElementById('time').dispatchEvent(new Event('input')))"
    )
    screen.settled()
    library.shelf.put(scene(3))
    screen.until("careLive.times.length === 4")
    assert screen.js("careLive.header().t") == 0
    assert screen.js("document.getElementById('time').value") == "0"
    assert screen.js("document.getElementById('follow').ariaPressed") == "false"
    screen.press(" ")
    screen.until("careLive.header().t === 3")
    library.shelf.put(scene(4))
    screen.until("careLive.header().t === 4")


def test_automatic_contrast_survives_a_hot_pixel_and_gives_way_to_a_hand(screen, library):
    low, high = screen.js("careLive.look.channels.get(0).contrast.raw")
    raw = library.at(2, 0)[0].raw
    assert raw.max() == 65535 and high < 600
    assert screen.pane("raw").image((64, 96), STEP_UM)[..., 0].std() > 10
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = screen.window.find_element("css selector", '.histogram[data-product="raw"] canvas')
    ActionChains(screen.window).move_to_element_with_offset(canvas, 20, 0).click().perform()
    changed = screen.js("careLive.look.channels.get(0).contrast.raw")
    assert changed != [low, high]
    assert screen.js("document.getElementById('auto').checked") is False
    screen.press("a")
    assert screen.js("careLive.look.channels.get(0).contrast.raw") == [low, high]


def test_low_confidence_is_marked_by_hue_where_there_is_signal_and_brightness_stays(screen, library):
    shown = replace(library.at(2, 0)[0], disagreement=None)
    library.shelf.put(shown)
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 3")
    screen.contrast("restored", 100, 600)
    window = screen.js("careLive.header().channels[0].windows.restored")
    screen.look(threshold=0.5, layer="marked", overlay=False)
    colours = screen.pane("uncertainty").image((64, 96), STEP_UM)
    floor = 0.05 * (window["high"] - window["low"])
    signal = np.abs(shown.restored[4] - window["low"]) + floor
    half = 1.1 * np.log(10) * shown.laplace_scale[4]  # calibrated at 90 %
    marked = (half / signal > 0.56) & (shown.restored[4] > window["low"] + 2.1 * floor)
    sure = (half / signal < 0.44) | (shown.restored[4] < window["low"] + 0.9 * floor)
    spread = colours.max(-1) - colours.min(-1)
    expected = grey(shown.restored[4], 100, 600)
    assert (marked & (expected > 30)).sum() > 20
    assert (spread[marked & (expected > 30)] > 5).all()
    assert (spread[sure] <= 2).all()
    assert (np.abs(colours @ LUMA - expected) <= 1.5).all(), "rounding of three colours, in every pixel"
    assert (screen.pane("restored").image((64, 96), STEP_UM).std(-1) < 1).all(), "marks only where asked"
    screen.look(threshold=10)
    assert (screen.pane("uncertainty").image((64, 96), STEP_UM).std(-1) < 1).all()


def test_marks_keep_the_brightness_of_the_brightest_pixels_too(screen, library):
    """Up to 97 % of white exactly; white itself has no hue, and gives in by 3 %."""
    shown = replace(library.at(2, 0)[0], disagreement=None)
    library.shelf.put(replace(shown, laplace_scale=np.full_like(shown.restored, 1e6)))
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 3")
    screen.contrast("restored", 100, 300)
    screen.look(threshold=0.05, layer="marked")
    colours = screen.pane("uncertainty").image((64, 96), STEP_UM)
    expected = grey(shown.restored[4], 100, 300)
    foreground = expected > 60
    assert (expected > 0.72 * 255).sum() > 100 and (expected == 255).any()
    spread = (colours.max(-1) - colours.min(-1))[foreground]
    assert (spread > 5).all(), "every mark can be seen"
    given_in = expected - colours @ LUMA
    assert (np.abs(given_in) <= 1.5 + np.maximum(0, expected - 0.97 * 255)).all()


def test_marks_keep_the_brightness_of_a_channel_in_colour(screen, library):
    shown = replace(library.at(2, 0)[0], disagreement=None)
    library.shelf.put(shown)
    screen.ask(z=4)
    screen.until("careLive.picture.arrays.size === 3")
    screen.contrast("restored", 100, 600)
    screen.js("careLive.setChannel(0, { tint: [0.2, 0.8, 0.6] })")
    screen.look(threshold=0.5, layer="marked", overlay=False)
    colours, plain = (screen.pane(pane).image((64, 96), STEP_UM) for pane in ("uncertainty", "restored"))
    assert (colours != plain).any(-1).sum() > 20
    assert (np.abs(colours @ LUMA - plain @ LUMA) <= 2).all()


def test_disagreement_has_a_layer_where_the_network_is_an_ensemble(screen, library):
    assert screen.js("document.querySelector('[data-value=disagreement]').hidden") is False
    screen.look(layer="disagreement")
    apart = screen.pane("uncertainty").pixels
    assert apart.max() > 100
    library.shelf.put(scene(3))
    screen.until("careLive.header().t === 3")
    assert screen.js("document.querySelector('[data-value=disagreement]').hidden") is True


def test_pointing_reads_the_voxel(screen, library):
    from selenium.webdriver.common.action_chains import ActionChains

    screen.ask(z=4)
    pane = screen.window.find_element("css selector", '.pane[data-pane="raw"]')
    ActionChains(screen.window).move_to_element_with_offset(pane, 31, -17).perform()
    screen.until("careLive.probe.last")
    screen.until("!careLive.probe.waiting && careLive.probe.asked === careLive.probe.wanted")
    time.sleep(0.2)
    last = screen.js("careLive.probe.last")
    shown = library.at(2, 0)[0]
    z, y, x = last["at"]
    view = screen.pane("raw").view
    assert (z, y, x) == (4, int((view["y"] - 17 / view["scale"]) / 0.5), int((view["x"] + 31 / view["scale"]) / 0.5))
    (value,) = last["values"]
    assert value["raw"] == shown.raw[z, y, x]
    half = 1.1 * np.log(10) * shown.laplace_scale[z, y, x]
    assert value["interval"] == pytest.approx(
        [shown.restored[z, y, x] - half, shown.restored[z, y, x] + half], rel=1e-4
    )
    assert str(shown.raw[z, y, x]) in screen.window.find_element("id", "probe").text


def test_one_drag_and_one_wheel_move_all_panes(screen, library):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    screen.ask(z=4)
    screen.contrast("restored", 60, 400)
    pane = screen.window.find_element("css selector", '.pane[data-pane="raw"]')
    ActionChains(screen.window).move_to_element(pane).click_and_hold().move_by_offset(60, 30).release().perform()
    ActionChains(screen.window).scroll_from_origin(ScrollOrigin.from_element(pane), 0, -200).perform()
    camera = screen.js("careLive.look.camera")
    assert camera["x"] < 0 and camera["y"] < 0 and camera["zoom"] > 1.3
    seen = screen.pane("restored")
    place = (screen.pane("raw").view["y"], screen.pane("raw").view["x"])
    y, x = (int(um / 0.5) for um in place)
    expected = grey(library.at(2, 0)[0].restored[4], 60, 400)
    assert seen.at_um((y + 0.5) / 2, (x + 0.5) / 2)[0] == pytest.approx(expected[y, x], abs=1)
    screen.press("r")
    assert screen.js("careLive.look.camera") == {"x": 0, "y": 0, "zoom": 1}


def test_the_keys_are_listed(screen):
    screen.press("?")
    assert "follow the newest volume" in screen.window.find_element("id", "help").text
    from selenium.webdriver.common.keys import Keys

    screen.press(Keys.ESCAPE)
    screen.press("3")
    screen.settled()
    assert screen.js("careLive.header().mode") == "ortho"
    screen.press("p")
    assert not screen.window.find_element("id", "panel").is_displayed()


def test_ortho_planes_show_the_volume_from_three_sides(screen, library):
    raw = library.at(2, 0)[0].raw
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


def test_the_maximum_projection_is_one_and_turns(screen, library):
    """Every screen pixel is compared with the maximum along its own ray, interpolated as the graphics card does."""
    restored = library.at(2, 0)[0].restored
    screen.ask(mode="volume")
    screen.contrast("restored", 60, 400)
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


def test_channels_add_in_their_colours(screen, library):
    first, second = library.at(2, 0)[0], scene(2, c=1)
    library.shelf.put(second)
    screen.until("careLive.header().channels.length === 2")
    screen.ask(z=4)
    for c in (0, 1):
        screen.js(f"careLive.chooseChannel({c})")
        screen.contrast("restored", 60, 900)
    tints = [screen.js(f"careLive.look.channels.get({c}).tint") for c in (0, 1)]
    colours = screen.pane("restored").image((64, 96), STEP_UM)
    parts = [
        np.rint(grey(one.restored[4], 60, 900)[..., None] * tint)
        for one, tint in zip((first, second), tints, strict=True)
    ]
    assert np.abs(colours - np.clip(sum(parts), 0, 255)).max() <= 2
    library.shelf.put(scene(3))
    screen.until("careLive.header().t === 3")
    assert screen.js("careLive.header().channels.map(({ t }) => t)") == [3, 2], "the second one has not come yet"
    assert screen.window.find_element("css selector", '[data-pane="raw"] .pane-note').text == "channel 1 of t 2"
    screen.ask(t=2)
    screen.js("careLive.setChannel(1, { visible: false })")
    assert np.abs(screen.pane("restored").image((64, 96), STEP_UM) - parts[0]).max() <= 1


def test_what_must_always_be_said_is_always_there(screen, library):
    library.shelf.put(replace(scene(3), flags=frozenset({"saturated"}), state="suspect"))
    screen.until("careLive.header().t === 3")
    for width in (1100, 700):
        screen.window.set_window_size(width, 640)
        assert screen.window.find_element("id", "limits").is_displayed()
        assert "not for intensity quantification" in screen.window.find_element("id", "limits").text
        assert screen.window.find_element("id", "state").text == "suspect"
        assert "saturated" in screen.window.find_element("id", "flags").text
    screen.window.set_window_size(1100, 640)


def test_a_raw_only_volume_says_so(screen, library):
    shown = scene(3)
    library.shelf.put(Shown(shown.key, raw=shown.raw))
    screen.until("careLive.header().t === 3")
    assert screen.pane("restored").pixels.max() == 0
    assert "not restored" in screen.window.find_element("css selector", '[data-pane="restored"] .pane-note').text


def test_lossy_pixels_are_labelled(screen):
    assert not screen.window.find_element("id", "lossy").is_displayed()
    screen.ask(quality="lossy")
    screen.until("careLive.header().lossy")
    assert screen.window.find_element("id", "lossy").text == "lossy pixels"
    exact = screen.pane("restored").pixels.astype(int)
    assert exact.max() > 100


def test_a_snapshot_carries_its_caption(screen):
    size = screen.js(
        "(async () => { const { compose, captionOf } = await import('/page/snapshot.js'); careLive.draw();"
        " const made = compose(document.getElementById('pixels'), document.getElementById('marks'), careLive.panes(),"
        " captionOf(careLive.header(), careLive.run));"
        " return [made.width, made.height, captionOf(careLive.header(), careLive.run)]; })()"
    )
    assert size[1] > screen.js("document.getElementById('pixels').height")
    assert "not for intensity quantification" in size[2] and "worm3d" in size[2]


def test_a_lost_gateway_is_said_and_found_again(window, library):
    with serving(library) as (_, address):
        screen = Screen(window, address)
    screen.until("document.getElementById('link').textContent.includes('gone')")
    window.get("about:blank")
