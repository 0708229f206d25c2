"""A real headless Chromium, driven through its own driver; nothing is downloaded."""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_FLAGS = (
    "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --force-color-profile=srgb"
)


def need_browser() -> tuple[str, str]:
    """Return Chromium and its driver, or skip the test by name (fail where CARE_LIVE_REQUIRE_DATA is set)."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        pytest.importorskip("selenium")
        return browser, driver
    message = "Chromium and its driver are not on this machine (Debian: chromium, chromium-driver)"
    if os.environ.get("CARE_LIVE_REQUIRE_DATA"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def chromium(folder: Path, *, width: int = 1100, height: int = 640) -> Iterator[Any]:
    """Start a browser with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = need_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS.split(), f"--user-data-dir={folder}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    window.set_page_load_timeout(120)
    window.set_script_timeout(120)
    try:
        yield window
    finally:
        window.quit()


class Screen:
    """The page in a browser, asked and pressed as a person would, its pixels read back."""

    def __init__(self, window: Any, address: str) -> None:
        self.window = window
        window.get(address)
        self.until("window.careLive?.firstDrawn")

    def js(self, expression: str) -> Any:
        return self.window.execute_script(f"return {expression}")

    def until(self, condition: str, deadline_s: float = 60.0) -> None:
        """Wait for a condition of the page."""
        end = time.monotonic() + deadline_s
        while not self.js(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise AssertionError(f"the page never got to: {condition}; header {self.js('careLive.header?.()')}")
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.window).send_keys(*keys).perform()

    def ask(self, **view: object) -> None:
        """Ask for a view and wait until its picture is drawn."""
        self.window.execute_script("careLive.ask(arguments[0])", view)
        self.settled()

    def settled(self) -> None:
        """Wait until the picture of the last view has come."""
        self.until("careLive.header().revision === careLive.stream.revision && !careLive.stream.asking")

    def look(self, **look: object) -> None:
        self.window.execute_script("careLive.set(arguments[0])", look)

    def contrast(self, product: str, low: float, high: float) -> None:
        self.window.execute_script("careLive.setContrast(arguments[0], arguments[1])", product, [low, high])

    def pane(self, name: str) -> Pane:
        """Draw now, and read one pane's pixels: (y, x, 3) uint8."""
        found = self.window.execute_script(_READ, name)
        pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(found["height"], found["width"], 4)[
            ::-1, :, :3
        ]
        return Pane(pixels, found["view"])

    def errors(self) -> list[str]:
        """Return what the browser complained of."""
        return [entry["message"] for entry in self.window.get_log("browser") if entry["level"] == "SEVERE"]


class Pane:
    """One pane's pixels and where they are in the specimen."""

    def __init__(self, pixels: np.ndarray, view: dict[str, float]) -> None:
        self.pixels, self.view = pixels, view

    def at_um(self, y_um: float, x_um: float) -> np.ndarray:
        """Return the colour of the screen pixel nearest to a place: (3,) int."""
        height, width = self.pixels.shape[:2]
        column = (x_um - self.view["x"]) * self.view["scale"] + width / 2
        row = (y_um - self.view["y"]) * self.view["scale"] + height / 2
        return self.pixels[int(row), int(column)].astype(int)

    def image(self, shape: tuple[int, int], step_um: tuple[float, float], origin_um=(0.0, 0.0)) -> np.ndarray:
        """Return the colours at the centres of an image's pixels: (y, x, 3)."""
        return np.array(
            [
                [
                    self.at_um(origin_um[0] + (y + 0.5) * step_um[0], origin_um[1] + (x + 0.5) * step_um[1])
                    for x in range(shape[1])
                ]
                for y in range(shape[0])
            ]
        )


_READ = """
const page = careLive;
page.draw();
const pane = page.panes().find(({ name }) => name === arguments[0]);
const gl = page.renderer.gl;
const pixels = new Uint8Array(pane.width * pane.height * 4);
gl.readPixels(pane.x, page.renderer.canvas.height - pane.y - pane.height, pane.width, pane.height,
              gl.RGBA, gl.UNSIGNED_BYTE, pixels);
const header = page.header();
const [nz, ny, nx] = header.shape, [vz, vy, vx] = header.voxel_size_um, camera = page.look.camera;
let [width, height] = [nx * vx, ny * vy];
let [x, y] = [width / 2, height / 2];
if (header.mode === "ortho") {
  const gap = 0.02 * nx * vx;
  [width, height] = [width + gap + nz * vz, height + gap + nz * vz];
  [x, y] = [width / 2, height / 2];
}
if (header.mode === "volume") {
  width = height = 0.82 * Math.hypot(nx * vx, ny * vy, nz * vz);
  [x, y] = [0, 0];
}
const scale = 0.96 * Math.min(pane.width / width, pane.height / height) * camera.zoom;
let text = "";
for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
return { width: pane.width, height: pane.height, pixels: btoa(text),
         view: { scale, x: x + camera.x, y: y + camera.y } };
"""
