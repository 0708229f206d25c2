"""Pictures of both viewers on the demo's worm, for the README.

``python tools/screenshots.py page --out DIR`` starts the demo, opens its page in a headless Chromium and saves
what it shows; ``--url`` takes a page that is being served already. ``python tools/screenshots.py napari RUN
--out DIR`` shows a recorded run in napari; without a display run it under ``xvfb-run -a`` with
``LIBGL_ALWAYS_SOFTWARE=1``. Needs selenium, Chromium and its driver, or the [napari] extra.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

_FLAGS = (
    "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"
)
_URL = re.compile(r"https?://\S+")
_SCENES = {
    "page-plane": "careLive.ask({ mode: 'slice' })",
    "page-marked": "careLive.set({ overlay: true, threshold: 0.5 })",
    "page-relative": "careLive.set({ overlay: false, layer: 'relative' })",
    "page-ortho": "careLive.set({ layer: 'marked' }); careLive.ask({ mode: 'ortho' })",
    "page-max": "careLive.ask({ mode: 'max' })",
    "page-3d": "careLive.follow(false); careLive.ask({ mode: 'volume' })",  # slow without a graphics card
}
"""Name of the picture, and what the page is told before it is taken."""
_READY_S = 180.0


@click.group()
def main() -> None:
    """Save pictures of the browser page or of napari."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the pictures.")
@click.option("--url", help="A page that is served already, token included; default: start the demo.")
@click.option("--volumes", default=3, show_default=True, help="How many to wait for.")
@click.option("--size", nargs=2, type=int, default=(1440, 860), show_default=True, help="Window, width and height.")
def page(out: Path, url: str | None, volumes: int, size: tuple[int, int]) -> None:
    """Save what the browser page shows."""
    out.mkdir(parents=True, exist_ok=True)
    if url:
        _photograph(url, out, volumes, size)
        return
    with demo() as address:
        _photograph(address, out, volumes, size)


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the picture.")
def napari(run: Path, out: Path) -> None:
    """Save what napari shows of a recorded run."""
    import napari as desktop

    from care_live.viewer.napari.widget import Watch

    viewer = desktop.Viewer(show=True)
    viewer.grid.enabled = True
    viewer.window.resize(1440, 860)
    watching = Watch(viewer)
    viewer.window.add_dock_widget(watching, name="care_live", area="right")
    watching.start("", run)
    _show_until(lambda: "restored" in viewer.layers, _READY_S)
    _show_until(lambda: False, 2.0)  # the grid is laid out and fitted
    out.mkdir(parents=True, exist_ok=True)
    viewer.screenshot(str(out / "napari.png"), canvas_only=False, flash=False)
    watching.stop()
    viewer.close()
    click.echo(out / "napari.png")


def _show_until(condition: Callable[[], bool], deadline_s: float) -> None:
    """Let napari live until a condition holds or the time is over."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + deadline_s
    while not condition() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.05)


@contextmanager
def demo() -> Iterator[str]:
    """Run the demo in a folder that goes away; gives the address of its page."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "care_live", "demo", "--directory", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := _URL.search(line):
                    yield found.group()
                    return
            raise click.ClickException("the demo ended without serving a page")
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the demo to drain, then to stop, then end it."""
    for ask in (process.terminate, process.terminate, process.kill):
        ask()
        try:
            process.wait(20)
            return
        except subprocess.TimeoutExpired:
            continue


def _photograph(address: str, out: Path, volumes: int, size: tuple[int, int]) -> None:
    with browser(size) as window:
        window.get(address)
        _until(window, f"window.careLive?.firstDrawn && careLive.times.length >= {volumes} && hasRestored()")
        for name, command in _SCENES.items():
            window.execute_script(command)
            _until(window, "careLive.header().revision === careLive.stream.revision && !careLive.stream.asking")
            _until(window, "!careLive.waiting && !careLive.renderer.busy")
            window.save_screenshot(str(out / f"{name}.png"))
            click.echo(out / f"{name}.png")


@contextmanager
def browser(size: tuple[int, int]) -> Iterator[Any]:
    """Start Chromium with a profile that goes away."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise click.ClickException("Chromium and chromedriver are needed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS.split(), f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        window = webdriver.Chrome(options=options, service=Service(driver))
        window.set_script_timeout(_READY_S)
        try:
            yield window
        finally:
            window.quit()


def _until(window: Any, condition: str) -> None:
    """Wait until the page is as a picture needs it."""
    restored = "const hasRestored = () => careLive.header().channels.some((channel) => channel.restored);"
    end = time.monotonic() + _READY_S
    while not window.execute_script(f"{restored} return Boolean({condition})"):
        if time.monotonic() > end:
            raise click.ClickException(f"the page never got to: {condition}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
