"""The README's picture of Live: ``python tools/live_screenshot.py`` saves live.png.

A script focuses on the worm of the virtual microscope; the page shows Live raw and restored. Nothing is acquired. Works
without a display. Needs Chromium and its driver, selenium, and ImageMagick.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from care_live.cli.health import ask
from care_live.errors import CareLiveError
from tests.make.runs import free_ports
from tools.screenshots import PICTURES, browser, until
from tools.window_screenshot import ended

_START_S = 240.0
_URL = re.compile(r"https?://\S+")
_FOCUS_UM = (20.0, 16.0, 12.0, 8.0, 10.0)
"""Heights of the stage, as a person would look for the focus."""
_IS_LIVE = "document.getElementById('link')?.textContent === 'Live'"
_EXACT = "const q = document.getElementById('quality'); q.value = 'exact'; q.dispatchEvent(new Event('change'))"
_IS_RESTORED = (
    "document.querySelector('[data-pane=restored] h2').textContent === 'restored' && !careLive.renderer.busy"
    " && document.getElementById('lossy').hidden"
)


class LiveDaemon(NamedTuple):
    """Where to look, and where to order."""

    page: str
    status: str


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=PICTURES / "live.png", show_default=True)
def main(out: Path) -> None:
    """Focus on the worm, and save what the page shows."""
    with (
        tempfile.TemporaryDirectory(prefix="live-") as folder,
        live_daemon(Path(folder)) as daemon,
        browser() as window,
    ):
        window.get(daemon.page)
        until(window, _IS_LIVE)
        window.execute_script(_EXACT)  # a slow machine would send coarse pixels
        for z_um in _FOCUS_UM:
            order(daemon, {"z_um": z_um})
        until(window, f"document.getElementById('conditions').textContent.includes('z {_FOCUS_UM[-1]:.2f} ')")
        until(window, _IS_RESTORED)
        whole = Path(folder) / "whole.png"
        window.save_screenshot(str(whole))
        subprocess.run(["convert", str(whole), "-colors", "96", f"png8:{out}"], check=True, timeout=60)
    click.echo(f"{out} {out.stat().st_size} bytes")


def order(daemon: LiveDaemon, wanted: dict[str, float]) -> None:
    """Order it again until the microscope takes it: at the start it loads its devices."""
    stop_s = time.monotonic() + _START_S
    while True:
        try:
            click.echo(ask(daemon.status, "/stage", dict(wanted)).strip())
            return
        except CareLiveError:
            if time.monotonic() > stop_s:
                raise
            time.sleep(1.0)


@contextmanager
def live_daemon(folder: Path) -> Iterator[LiveDaemon]:
    """Run care_live with a virtual microscope in Live."""
    live, runs, publish, pull, status, page = free_ports(6)
    config = folder / "live.toml"
    config.write_text(
        f'[source]\nkind = "live"\nbind = "tcp://127.0.0.1:{live}"\nbind_runs = "tcp://127.0.0.1:{runs}"\n'
        f'[source.microscope]\nspecimen = "worm"\nshape_px = [512, 512]\nplane_rate_hz = 5\n[live]\nlag_ms = 5000\n'
        f'[store]\ndirectory = "{folder / "runs"}"\n[daemon]\nstatus_bind = "127.0.0.1:{status}"\n'
        f'[publish]\nbind = "tcp://127.0.0.1:{publish}"\nbind_pull = "tcp://127.0.0.1:{pull}"\n'
        f'[web]\nbind = "127.0.0.1:{page}"\n'
    )
    log = folder / "daemon.log"
    with ended([sys.executable, "-m", "care_live", "run", str(config), "--web"], log):
        stop_s = time.monotonic() + _START_S
        while not (found := _URL.search(log.read_text())):
            if time.monotonic() > stop_s:
                raise click.ClickException(f"the page did not start: {log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield LiveDaemon(found.group(), f"127.0.0.1:{status}")


if __name__ == "__main__":
    main()
