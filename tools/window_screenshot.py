"""The README's picture of Micro-Manager beside the page: ``python tools/window_screenshot.py`` saves window.png.

A real Micro-Manager with simulated devices acquires in its window; ``source.kind = "studio"`` restores it meanwhile.
Needs what ``.ci/run`` installs (Java, Xvfb, xdotool, ImageMagick, Chromium) and the data of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.make.runs import free_ports
from tests.source.java_program import alone_on_this_machine, display, java_process
from tests.source.window_driver import WindowDriver

PICTURE = Path(__file__).resolve().parents[1] / ".github" / "pictures" / "window.png"
SIZE = (1600, 900)
_PAGE_LEFT = 760
_WAIT_S = 240.0
_DRAWN_S = 20.0
"""The page has drawn a volume by then, without a graphics card."""
_URL = re.compile(r"https?://\S+")
_PLACES = {
    "Micro-Manager": (0, 0), "Multi-Dimensional": (0, 330), "Untitled": (110, 245),
    "Messages": (0, SIZE[1]), "Inspect": (0, SIZE[1]),
}  # fmt: skip
_BROWSER = (
    f"--no-sandbox --test-type --no-first-run --use-angle=swiftshader --enable-unsafe-swiftshader "
    f"--disable-background-networking --window-position={_PAGE_LEFT},0 --window-size={SIZE[0] - _PAGE_LEFT},{SIZE[1]}"
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=PICTURE, show_default=True)
@click.option(
    "--within", type=click.Path(path_type=Path), help="Its window shows this folder; default: a temporary one."
)
def main(out: Path, within: Path | None) -> None:
    """Acquire in Micro-Manager's window, and save what its screen shows."""
    with ExitStack() as stack:
        folder = stack.enter_context(unpacked(within))
        stack.enter_context(alone_on_this_machine())
        screen = stack.enter_context(display(SIZE))
        os.environ["DISPLAY"] = screen
        port, _ = stack.enter_context(java_process("window", folder / "mm", on_display=screen))
        address, status = stack.enter_context(daemon(folder, port))
        driver = stack.enter_context(closing(WindowDriver(port)))
        driver.camera(512, exposure_ms=0.4, Mode="Fluorescent Beads")
        driver.acquire("RAM", None, (60, 8), interval_ms=2000.0)
        command = [shutil.which("chromium") or "chromium", *_BROWSER.split(), f"--user-data-dir={folder / 'browser'}"]
        stack.enter_context(ended([*command, f"--app={address}"]))
        place_windows()
        wait_restored(status, 2)
        time.sleep(_DRAWN_S)
        out.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["import", "-window", "root", "-colors", "96", f"png8:{out}"], check=True, timeout=60)
    click.echo(f"{out} {out.stat().st_size} bytes")


@contextmanager
def unpacked(within: Path | None) -> Iterator[Path]:
    """Yield a new folder, which is removed afterwards."""
    if within is None:
        with tempfile.TemporaryDirectory(prefix="window-") as temporary:
            yield Path(temporary)
        return
    folder = within / "Micro-Manager-2.0"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def daemon(folder: Path, port: int) -> Iterator[tuple[str, str]]:
    """Run care_live beside Micro-Manager; yield the address of its page, and that of its status."""
    publish, pull, status, page = free_ports(4)
    config = folder / "studio.toml"
    config.write_text(
        f'[source]\nkind = "studio"\nport = {port}\n[store]\ndirectory = "{folder / "runs"}"\n'
        f'[publish]\nbind = "tcp://127.0.0.1:{publish}"\nbind_pull = "tcp://127.0.0.1:{pull}"\n'
        f'[daemon]\nstatus_bind = "127.0.0.1:{status}"\n[web]\nbind = "127.0.0.1:{page}"\n'
    )
    log = folder / "daemon.log"
    with ended([sys.executable, "-m", "care_live", "run", str(config), "--web"], log):
        until = time.monotonic() + _WAIT_S
        while time.monotonic() < until:
            said = log.read_text()
            if (found := _URL.search(said)) and "what its window acquires is restored" in said:
                yield found.group(), f"http://127.0.0.1:{status}/status"
                return
            time.sleep(0.5)
        raise click.ClickException(f"the page did not start: {log.read_text()[-2000:]}")


def wait_restored(status: str, n_volumes: int) -> None:
    """Wait until that many volumes are restored."""
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        with urllib.request.urlopen(status, timeout=60) as answer:
            if json.load(answer)["restored"] >= n_volumes:
                return
        time.sleep(1.0)
    raise click.ClickException(f"{n_volumes} volumes were not restored within {_WAIT_S:g} s")


@contextmanager
def ended(command: list[str], log: Path | None = None) -> Iterator[None]:
    """Run a program as long as the block lasts."""
    out = log.open("wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT if log else subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def place_windows() -> None:
    """Put Micro-Manager's windows beside the page."""
    until = time.monotonic() + _WAIT_S
    left = dict(_PLACES)
    while left and time.monotonic() < until:
        for title, (x, y) in list(left.items()):
            found = subprocess.run(
                ["xdotool", "search", "--onlyvisible", "--name", title], capture_output=True, text=True, check=False
            ).stdout.split()
            for window in found:
                subprocess.run(["xdotool", "windowmove", window, str(x), str(y)], check=False)
                left.pop(title, None)
        time.sleep(1.0)
        until = min(until, time.monotonic() + 20.0)


if __name__ == "__main__":
    main()
