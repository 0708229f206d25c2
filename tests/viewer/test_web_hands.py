"""The page by keyboard alone, and on a tablet."""

from __future__ import annotations

import pytest

from .browser import Screen

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ALWAYS = ("limits", "state", "time", "z", "follow", "age", "skipped", "lost", "snapshot")
"""What must be visible without a search."""


def tab_to(screen: Screen, condition: str) -> None:
    """Press Tab until the focus is where a condition on `at` holds."""
    from selenium.webdriver.common.keys import Keys

    for _ in range(60):
        screen.press(Keys.TAB)
        if screen.js(f"((at) => Boolean({condition}))(document.activeElement)"):
            return
    raise AssertionError(f"the keyboard never gets to {condition}")


def test_what_has_the_focus_takes_its_own_keys(screen: Screen) -> None:
    from selenium.webdriver.common.keys import Keys

    screen.until("careLive.times.length === 3")
    tab_to(screen, "at.dataset.value === 'max'")
    screen.press(" ")
    screen.settled()
    assert screen.js("careLive.header().mode") == "max"
    assert screen.js("careLive.view.t") is None, "the space bar pressed the button, and nothing else"
    tab_to(screen, "at.id === 'gamma'")
    before = screen.js("careLive.look.gamma")
    screen.press(Keys.ARROW_RIGHT)
    assert screen.js("careLive.look.gamma") != before
    assert screen.js("careLive.view.t") is None
    tab_to(screen, "at.id === 'time'")
    screen.press(Keys.ARROW_LEFT)
    screen.settled()
    assert screen.js("careLive.header().t") == 1


def test_every_control_can_be_reached_by_keyboard(screen: Screen) -> None:
    from selenium.webdriver.common.keys import Keys

    reached = set()
    for _ in range(60):
        screen.press(Keys.TAB)
        reached.add(screen.js("document.activeElement.id || document.activeElement.dataset?.value"))
    wanted = (
        "[...document.querySelectorAll(':is(button, select, input):enabled')].filter((one) => one.checkVisibility())"
    )
    assert set(screen.js(f"{wanted}.map((one) => one.id || one.dataset.value)")) - {"", None} <= reached


@pytest.mark.parametrize("size", [(820, 1180), (1180, 820), (1366, 768)], ids=["portrait", "landscape", "laptop"])
def test_all_that_matters_is_on_a_small_screen(screen: Screen, size: tuple[int, int]) -> None:
    screen.window.set_window_size(*size)
    try:
        screen.until("careLive.header()")
        places = screen.js(f"{list(ALWAYS)}.map((id) => document.getElementById(id).getBoundingClientRect().toJSON())")
        width, height = screen.js("[innerWidth, innerHeight]")
        for name, place in zip(ALWAYS, places, strict=True):
            assert place["width"] > 0 and place["left"] >= 0 and place["right"] <= width, name
            assert place["top"] >= 0 and place["bottom"] <= height, name
        for pane in screen.js("careLive.panes()"):
            assert min(pane["width"], pane["height"]) > 180, pane
    finally:
        screen.window.set_window_size(1100, 640)


def test_two_fingers_zoom_and_one_moves(screen: Screen) -> None:
    x, y = screen.js(
        "((box) => [box.x + box.width / 2, box.y + box.height / 2])"
        "(document.querySelector('.pane[data-pane=\"restored\"]').getBoundingClientRect())"
    )

    def touch(kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": x + dx, "y": y + dy, "id": n} for n, (dx, dy) in enumerate(at)]
        screen.window.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (-20, 0), (20, 0))
    for reach in (30, 45, 60):
        touch("touchMove", (-reach, 0), (reach, 0))
    touch("touchEnd")
    screen.until("careLive.look.camera.zoom > 1.5")
    before = screen.js("careLive.look.camera.x")
    touch("touchStart", (0, 0))
    for far in (10, 30, 50):
        touch("touchMove", (far, 0))
    touch("touchEnd")
    screen.until(f"careLive.look.camera.x < {before}")
