"""The page in a real browser, as a person uses it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from care_live.verdict import Doubt, Trust
from tests.make.scenes import but, filled, raw_only, scene, serving

from .browser import Screen
from .test_web_pixels import STEP_UM, grey

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_first_picture_does_not_wait_for_the_next_volume(window, index, record_property):
    """Nothing more is published after the page was opened, and the newest volume is drawn."""
    with serving(index) as (_, address):
        screen = Screen(window, address)
        assert screen.js("careLive.header().t") == 2
        assert index.cache.count == 3
        record_property("first_picture_ms", screen.js("careLive.firstDrawn"))
        print(f"first picture after {screen.js('careLive.firstDrawn'):.0f} ms")
        window.get("about:blank")


def test_arrows_walk_through_z_and_t(screen, index):
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
    assert np.abs(colours - grey(index.at(1, 0)[0].raw[5], 60, 400)).max() <= 1.0


def test_following_never_steals_the_slider(screen, index):
    screen.until("careLive.times.length === 3")
    screen.js(
        "(document.getElementById('time').value = 0, document.getElementById('time').dispatchEvent(new Event('input')))"
    )
    screen.settled()
    index.cache.put(scene(3))
    screen.until("careLive.times.length === 4")
    assert screen.js("careLive.header().t") == 0
    assert screen.js("document.getElementById('time').value") == "0"
    assert screen.js("document.getElementById('follow').ariaPressed") == "false"
    screen.press(" ")
    screen.until("careLive.header().t === 3")
    index.cache.put(scene(4))
    screen.until("careLive.header().t === 4")


def test_automatic_contrast_survives_a_hot_pixel_and_gives_way_to_a_hand(screen, index):
    low, high = screen.js("careLive.look.channels.get(0).contrast.raw")
    raw = index.at(2, 0)[0].raw
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


def test_disagreement_has_a_layer_where_the_network_is_an_ensemble(screen, index):
    assert screen.js("document.querySelector('[data-value=disagreement]').hidden") is False
    screen.look(layer="disagreement")
    apart = screen.pane("uncertainty").pixels
    assert apart.max() > 100
    index.cache.put(scene(3))
    screen.until("careLive.header().t === 3")
    assert screen.js("document.querySelector('[data-value=disagreement]').hidden") is True


def test_pointing_reads_the_voxel(screen, index):
    from selenium.webdriver.common.action_chains import ActionChains

    screen.ask(z=4)
    pane = screen.window.find_element("css selector", '.pane[data-pane="raw"]')
    ActionChains(screen.window).move_to_element_with_offset(pane, 31, -17).perform()
    screen.until("careLive.probe.last")
    same = "['z', 'y', 'x'].every((axis, i) => careLive.probe.last.at[i] === careLive.probe.wanted[axis])"
    screen.until(f"!careLive.probe.waiting && careLive.probe.asked === careLive.probe.wanted && {same}")
    last = screen.js("careLive.probe.last")
    shown = index.at(2, 0)[0]
    z, y, x = last["at"]
    view = screen.pane("raw").view
    assert (z, y, x) == (4, int((view["y"] - 17 / view["scale"]) / 0.5), int((view["x"] + 31 / view["scale"]) / 0.5))
    (value,) = last["values"]
    assert value["raw"] == shown.raw[z, y, x]
    half = 1.1 * np.log(10) * shown.maps["laplace_scale"][z, y, x]
    assert value["interval"] == pytest.approx(
        [shown.maps["mean"][z, y, x] - half, shown.maps["mean"][z, y, x] + half], rel=1e-4
    )
    assert str(shown.raw[z, y, x]) in screen.window.find_element("id", "probe").text


def test_one_drag_and_one_wheel_move_all_panes(screen, index):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    screen.ask(z=4)
    screen.contrast("mean", 60, 400)
    pane = screen.window.find_element("css selector", '.pane[data-pane="raw"]')
    ActionChains(screen.window).move_to_element(pane).click_and_hold().move_by_offset(60, 30).release().perform()
    ActionChains(screen.window).scroll_from_origin(ScrollOrigin.from_element(pane), 0, -200).perform()
    camera = screen.js("careLive.look.camera")
    assert camera["x"] < 0 and camera["y"] < 0 and camera["zoom"] > 1.3
    seen = screen.pane("restored")
    place = (screen.pane("raw").view["y"], screen.pane("raw").view["x"])
    y, x = (int(um / 0.5) for um in place)
    expected = grey(index.at(2, 0)[0].maps["mean"][4], 60, 400)
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


def test_what_must_always_be_said_is_always_there(screen, index):
    index.cache.put(replace(but(scene(3), flags=frozenset({"saturated"})), state="suspect"))
    screen.until("careLive.header().t === 3")
    for width in (1100, 700):
        screen.window.set_window_size(width, 640)
        assert screen.window.find_element("id", "limits").is_displayed()
        assert "not for intensity quantification" in screen.window.find_element("id", "limits").text
        assert screen.window.find_element("id", "state").text == "suspect"
        assert "saturated" in screen.window.find_element("id", "flags").text
    screen.window.set_window_size(1100, 640)


def test_the_trust_light_leads_to_the_worst_place(screen, index):
    doubt = Doubt("invented", (2, 30, 50), 12.0)
    index.cache.put(but(scene(3), trust=Trust("red", ("the restoration shows something false",), (doubt,))))
    screen.until("careLive.header().t === 3")
    light = screen.window.find_element("css selector", "#flags button")
    assert light.text == "trust red"
    assert "something false" in light.get_attribute("title")
    screen.js("document.querySelector('#flags button').click()")
    screen.until("String(careLive.header().at) === '2,30,50' && careLive.view.t === 3")


def test_a_raw_only_volume_says_so(screen, index):
    shown = scene(3)
    index.cache.put(raw_only(shown.raw, shown.key))
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


def test_a_lost_gateway_is_said_and_found_again(window, index):
    with serving(index) as (_, address):
        screen = Screen(window, address)
    screen.until("document.getElementById('link').textContent.includes('gone')")
    window.get("about:blank")


@pytest.mark.parametrize("hour_us", [3_600_000_000, -3_600_000_000], ids=["ahead", "behind"])
def test_an_age_is_right_whatever_the_clocks_of_microscope_and_browser_say(window, hour_us):
    """The microscope's machine, and the browser's, are an hour off; the volume came four seconds ago."""
    volume = but(scene(0), acquired_us=int(time.time() * 1e6) + hour_us)
    wrong = replace(volume, last_plane_s=time.monotonic() - 4)
    with serving(filled(wrong)) as (_, address):
        screen = Screen(window, address)
        screen.js(f"(() => {{ const now = Date.now; Date.now = () => now() + {hour_us // 1000}; }})()")
        screen.until("document.getElementById('age').textContent.endsWith(' s')")
        assert screen.js("document.getElementById('age-name').textContent") == "age"
        age_s = float(screen.js("document.getElementById('age').textContent").removesuffix(" s"))
        assert age_s == pytest.approx(time.monotonic() - wrong.last_plane_s, abs=60), "not an hour off"
        assert screen.js("careLive.stream.gatewayMs()") == pytest.approx(time.monotonic() * 1e3, abs=60_000)
        window.get("about:blank")
