"""The README's pictures of both viewers: ``python tools/screenshots.py`` records the demo's worm and saves page.png and
napari.png.

Works without a display. Needs Chromium and its driver, selenium, the [napari] extra and, where there is no display,
xvfb-run (Debian: chromium chromium-driver xvfb xauth).
"""

from __future__ import annotations

import os
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

PICTURES = Path(__file__).resolve().parents[1] / ".github" / "pictures"
SIZE = (1440, 860)
"""Of both windows, width and height."""
READY_S = 300.0
"""A viewer that shows nothing after so long will not."""
LAID_OUT_S = 3.0
"""napari has laid out and fitted its grid by then."""

_FLAGS = (
    "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"
)
_URL = re.compile(r"https?://\S+")
_DRAWN = "!careLive.stream.asking && careLive.waiting === undefined && !careLive.renderer.busy"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=PICTURES, show_default=True)
@click.option("--volumes", default=5, show_default=True, help="How many to restore before the pictures are taken.")
@click.option("--of-run", type=click.Path(path_type=Path), hidden=True, help="Save napari's picture of this run only.")
def main(out: Path, volumes: int, of_run: Path | None) -> None:
    """Record the demo's worm, and save what the browser page and napari show of it."""
    out.mkdir(parents=True, exist_ok=True)
    if of_run is not None:
        save_napari(of_run, out / "napari.png")
        return
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        with demo(Path(folder)) as address:
            save_page(address, volumes, out / "page.png")
        (run,) = Path(folder).iterdir()
        with_display([sys.executable, __file__, "--out", str(out), "--of-run", str(run)])


# -- the demo ---------------------------------------------------------------------------------------------------


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run the demo; gives the address of its page, and lets the run end with the block."""
    command = [sys.executable, "-m", "care_live", "demo", "--directory", str(folder)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            found = (match.group() for line in process.stdout if (match := _URL.search(line)))
            if (address := next(found, None)) is None:
                log.seek(0)
                raise click.ClickException(f"the demo ended without serving a page: {log.read()[-1000:]}")
            yield address
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask the demo to drain, then to stop, then end it."""
    for ask in (process.terminate, process.terminate, process.kill):
        ask()
        try:
            process.communicate(timeout=60)
            return
        except subprocess.TimeoutExpired:
            continue


# -- the page ---------------------------------------------------------------------------------------------------


def save_page(address: str, volumes: int, file: Path) -> None:
    """Follow the run until enough volumes are restored, and save what the page shows."""
    with browser() as window:
        window.get(address)
        whole = "careLive.header().channels.every((channel) => channel.restored && channel.n_restored === null)"
        until(window, f"window.careLive?.firstDrawn && careLive.times.length >= {volumes} && {whole}")
        window.execute_script("careLive.set({ layer: 'relative' })")
        until(window, f"{whole} && {_DRAWN}")
        window.save_screenshot(str(file))
    click.echo(file)


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium with a profile that goes away."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise click.ClickException("Chromium and chromedriver are needed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS.split(), f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}"):
            options.add_argument(flag)
        window = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield window
        finally:
            window.quit()


def until(window: Any, condition: str) -> None:
    """Wait until the page is as a picture needs it."""
    deadline = time.monotonic() + READY_S
    while not window.execute_script(f"return Boolean({condition})"):
        if time.monotonic() > deadline:
            raise click.ClickException(f"the page never got to: {condition}")
        time.sleep(0.1)


# -- napari -----------------------------------------------------------------------------------------------------


def with_display(command: list[str]) -> None:
    """Run a command that opens a window, under a virtual display where there is no other."""
    environment = dict(os.environ)
    if sys.platform.startswith("linux") and not environment.get("DISPLAY"):
        if (virtual := shutil.which("xvfb-run")) is None:
            raise click.ClickException("there is no display, and no xvfb-run (Debian: xvfb, xauth)")
        command = [virtual, "-a", "-s", f"-screen 0 {SIZE[0] + 100}x{SIZE[1] + 100}x24", *command]
        environment |= {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"}
    if code := subprocess.run(command, env=environment, timeout=2 * READY_S, check=False).returncode:
        raise click.ClickException(f"napari's picture was not taken: its process ended with {code}")


def save_napari(run: Path, file: Path) -> None:
    """Save what napari shows of a recorded run."""
    import napari

    from care_live.viewer.napari.widget import WatchWidget

    viewer = napari.Viewer(show=True)
    viewer.grid.enabled = True
    viewer.window.resize(*SIZE)
    watching = WatchWidget(viewer)
    viewer.window.add_dock_widget(watching, name="care_live", area="right")
    watching.start("", run)
    try:
        if not live_until(lambda: "restored" in viewer.layers, READY_S):
            raise click.ClickException(f"napari shows no restored volume of {run}")
        live_until(lambda: False, LAID_OUT_S)
        viewer.screenshot(str(file), canvas_only=False, flash=False)
    finally:
        watching.stop()
    viewer.close()
    click.echo(file)


def live_until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Let napari live until a condition holds; False: it did not in time."""
    from qtpy.QtWidgets import QApplication

    deadline = time.monotonic() + patience_s
    while not (there := condition()) and time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.05)
    return there


if __name__ == "__main__":
    main()
