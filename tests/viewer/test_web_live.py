"""Live on the page: marked as such, with how it was taken; raw where nothing is restored; flipped by one key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from care_live.live_frame import LiveConditions
from tests.make.scenes import but, filled, scene, serving

from .browser import Screen

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CONDITIONS = LiveConditions(exposure_ms=10.0, laser=0.5, channel="DAPI", z_um=3.25, frames_per_s=20.0, light_s=1.5)


def test_live_is_marked_with_its_conditions_and_flips_by_a_key(window: Any) -> None:
    live = but(scene(0), live=CONDITIONS)
    index = filled(live)
    with serving(index) as (_, address):
        screen = Screen(window, address)
        screen.until("document.getElementById('link').textContent === 'Live'")
        said = screen.js("document.getElementById('conditions').textContent")
        for part in ("DAPI", "exposure 10 ms", "laser 0.5", "z 3.25 µm", "light on 20 %", "dose so far 1.5 s × laser"):
            assert part in said
        title = "document.querySelector('[data-pane=restored] h2').textContent"
        assert screen.js(title) == "restored"
        screen.press("f")
        assert screen.js(title) == "raw"
        screen.press("f")
        index.cache.put(replace(but(live, key=live.key._replace(t=1)), restored=None))
        screen.until("careLive.header().t === 1")
        assert screen.js(title) == "raw"
        assert "lags" in screen.js("document.querySelector('[data-pane=restored] .pane-note').textContent")
        assert "raw" in screen.js("document.querySelector('[data-pane=uncertainty] .pane-note').textContent")
        errors = screen.errors()
        window.get("about:blank")
    assert not errors
