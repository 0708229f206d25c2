"""Places that contradict the photons on the page: marked, found by a key, and on a line over time."""

from __future__ import annotations

import numpy as np
import pytest

from care_live.verdict import Doubt, Trust
from care_live.viewer.view_records import ViewedVolume
from care_live.viewer.volume_index import VolumeIndex
from tests.make.scenes import but, filled, scene

from .test_web_pixels import INVENTED, MISSING

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DOUBTS = (Doubt("invented", (4, 21, 31), 12.0), Doubt("missing", (8, 51, 71), 7.0))
RED = Trust("red", ("the restoration shows something that the camera did not count at 1 place",), DOUBTS)


def lying() -> ViewedVolume:
    """Return a volume with one invented and one missing place, as its map has them: squares of 2 x 2 voxels."""
    shown = scene(1)
    coarse = np.zeros((12, 32, 48), np.float32)
    coarse[3:6, 8:14, 12:19], coarse[7:10, 23:28, 32:40] = -12, 7
    return but(shown, maps={**shown.maps, "evidence": coarse}, trust=RED)


@pytest.fixture
def index() -> VolumeIndex:
    green = Trust("green")
    return filled(but(scene(0), trust=green), lying(), but(scene(2), trust=green))


def n_drawn(screen, name: str, colour: tuple[int, int, int]) -> int:
    """Return how many pixels of a pane have a colour of the marks, nearly."""
    return int((np.abs(screen.pane(name).pixels - np.array(colour)).max(-1) < 70).sum())


def test_a_key_leads_to_the_worst_place_and_the_next_and_a_key_takes_the_marks_away(screen, index):
    screen.ask(t=1)
    screen.press("w")
    screen.until("String(careLive.header().at) === '4,21,31'")
    assert screen.js("careLive.view.t") == 1, "a person who looks at a place stays there"
    assert screen.js("careLive.look.camera.zoom") > 1
    assert "invented, 12.0 times the noise, plane 5, y 21 x 31" in screen.window.find_element("id", "doubt-place").text
    assert screen.window.find_element("id", "z-text").text.startswith("5 /"), "the slider says the same plane"
    screen.press("n")
    screen.until("String(careLive.header().at) === '8,51,71'")
    screen.press("r")
    assert n_drawn(screen, "raw", MISSING) > 50 and n_drawn(screen, "restored", MISSING) > 50
    screen.press("n")
    screen.until("careLive.header().at[0] === 4")
    screen.press("r")
    assert n_drawn(screen, "raw", INVENTED) > 50 and n_drawn(screen, "raw", MISSING) == 0
    marks = "(() => { const canvas = document.getElementById('marks'); return canvas.getContext('2d')"
    inked = (
        f"{marks}.getImageData(0, 0, canvas.width, canvas.height).data.filter((v, i) => i % 4 === 3 && v).length }})()"
    )
    with_rings = screen.js(inked)
    screen.press("m")
    assert n_drawn(screen, "raw", INVENTED) == 0
    assert screen.js(inked) < with_rings


def test_the_line_under_the_slider_shows_the_red_volume_says_why_and_leads_there(screen, index):
    screen.until("careLive.trustLine.spans.length && careLive.times.length === 3")
    line = screen.window.find_element("id", "trust-line")
    assert line.get_attribute("aria-label") == "Trust over time: 2 green, 0 amber, 1 red"
    middle = "(() => { const canvas = document.getElementById('trust-line'); return [...canvas.getContext('2d')"
    assert screen.js(f"{middle}.getImageData(canvas.width / 2, 2, 1, 1).data] }})()")[:3] == [240, 68, 75]
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(screen.window).move_to_element(line).click().perform()
    screen.until("careLive.header().t === 1")
    tip = screen.window.find_element("id", "trust-tip")
    assert tip.is_displayed() and "t 1: red" in tip.text and "did not count" in tip.text


def test_words_at_marks_do_not_lie_over_each_other(screen, index):
    """Of three places close to each other, the worst keeps its word, and so does one that stands apart."""
    screen.ask(t=1)
    words = screen.js(
        "(async () => { const { drawDoubts } = await import('/page/doubts.js'); const said = [];"
        " const context = new Proxy({}, { get: (_, name) => name === 'measureText' ? () => ({ width: 50 })"
        " : name === 'fillText' ? (...call) => said.push(call) : () => {}, set: () => true });"
        " const header = careLive.header(); const at = header.at[0];"
        " const doubt = (sigmas, y, x) => ({ kind: 'invented', sigmas, place_px: [at, y, x] });"
        " const doubts = [doubt(9, 20, 20), doubt(8, 21, 22), doubt(7, 19, 24), doubt(6, 20, 90)];"
        " const lying = { ...header, channels: header.channels.map((one) => ({ ...one, trust: { doubts } })) };"
        " drawDoubts(context, { width: 2000, height: 1000, x: 0, y: 0 }, lying,"
        " { scale: 8 / header.voxel_size_um[2], x: 0, y: 0 }, careLive.look);"
        " return said.map(([, x]) => Math.round(x)); })()"
    )
    assert len(words) == 4, "twice each, for the shadow"
    assert len(set(words)) == 2
