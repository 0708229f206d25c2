"""Live, from the camera to the page: how old a picture is, how many are restored, and what it costs the camera.

A core of pymmcore-plus with Micro-Manager's demo camera runs in a process of its own, as with napari-micromanager; a
real daemon restores, a real gateway serves the page.

socket_ms_p50, p95: from the frame in the camera's buffer to the picture in a browser's socket.
page_ms_p50, p95: to its pixels drawn in Chromium, with --browser (its graphics are software here, beside all else).
restored_per_s, raw_per_s: frames that are shown as the network gives them, and as they came.
camera_rate_ratio: frames per second of the camera with Live watched over without; medians of alternating windows.
age_growth_ms_per_min: slope of the age over the window.
cpu_ms_per_frame: processor time of daemon, inference and gateway for each frame that is shown.
load: running processes, 1 minute, before and after; a machine with more than its cores measures its load.
"""

# ruff: noqa: N999 - the name of the benchmark, as it is typed

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import websockets

from benches._audience import header_of
from benches._daemon import free_port, started
from benches._pairs import say

CAMERA = Path(__file__).with_name("_live_camera.py")


@dataclass
class Pictures:
    """What came to one browser."""

    ages_ms: list[float] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    restored: list[bool] = field(default_factory=list)
    nbytes: int = 0


def measure(arguments: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="live-view", description=__doc__)
    parser.add_argument("--field", type=int, default=512, help="pixels along y and x")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second of the camera")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the watched window")
    parser.add_argument("--pairs", type=int, default=3, help="windows with and without Live, for the camera's rate")
    parser.add_argument("--model", type=Path, help="network; default: the shipped live2d")
    parser.add_argument("--average", action="store_true", help="the running average in place of a network")
    parser.add_argument("--no-evidence", action="store_true", help="do not compare with the photons")
    parser.add_argument("--threads", type=int, default=0, help="of inference; 0: as many as cores")
    parser.add_argument("--browser", action="store_true", help="draw in Chromium, too")
    asked = parser.parse_args(arguments)
    figures: dict[str, Any] = {"field_px": asked.field, "camera_hz": asked.rate, "cores": os.cpu_count()}
    figures["load_before"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="live-view-") as name:
        figures |= _measure(asked, Path(name))
    return figures | {"load_after": round(os.getloadavg()[0], 1)}


def _measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    live, pull, status = (f"tcp://127.0.0.1:{free_port()}" for _ in range(3))
    config = folder / "config.toml"
    config.write_text(_settings(asked, folder, live=live, pull=pull, status=status.removeprefix("tcp://")))
    with started(folder, config) as daemon, _page(pull) as (gateway, url), _camera(asked, live) as camera:
        first = asyncio.run(_watch(url, 3.0))  # warms up, and waits for the daemon
        if not first.ages_ms:
            raise SystemExit(f"no picture came; the daemon said: {(folder / 'log').read_text()[-500:]}")
        spent = _cpu_s(daemon) + _cpu_s(gateway)
        seen = asyncio.run(_watch(url, asked.seconds))
        spent = _cpu_s(daemon) + _cpu_s(gateway) - spent
        figures = _figures(seen, spent)
        say(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
        if asked.browser:
            figures |= _drawn(url, folder, asked.seconds)
        return figures | _rates(asked, camera, url)


def _settings(asked: argparse.Namespace, folder: Path, *, live: str, pull: str, status: str) -> str:
    model = f'model = "{asked.model.resolve().as_posix()}"\n' if asked.model else ""
    return f"""
[source]
kind = "live"
bind = "{live}"
bind_runs = "tcp://127.0.0.1:{free_port()}"
[live]
restoration = "{"average" if asked.average else "network"}"
[restore]
threads = {asked.threads}
evidence = {str(not asked.no_evidence).lower()}
{model}[store]
directory = "{(folder / "runs").as_posix()}"
[publish]
bind = "tcp://127.0.0.1:{free_port()}"
bind_pull = "{pull}"
[daemon]
status_bind = "{status}"
"""


@contextlib.contextmanager
def _page(pull: str) -> Iterator[tuple[psutil.Popen, str]]:
    command = [sys.executable, "-m", "care_live", "web", "--connect", pull, "--bind", "127.0.0.1:0"]
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def _camera(asked: argparse.Namespace, address: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(CAMERA), address, str(asked.field), str(1000 / asked.rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def _order(camera: subprocess.Popen[str], what: str) -> float:
    """Order the camera's program something, and return the number that it answers."""
    assert camera.stdin is not None and camera.stdout is not None
    camera.stdin.write(f"{what}\n")
    camera.stdin.flush()
    return float(camera.stdout.readline())


def _rates(asked: argparse.Namespace, camera: subprocess.Popen[str], url: str) -> dict[str, float]:
    """Compare the camera's rate with Live watched and not, in turn; the page is open in both."""
    window_s = max(3.0, min(asked.seconds, 20.0) / 4)
    ratios, plain = [], []
    for _ in range(asked.pairs):
        _order(camera, "unwatch")
        without = _order(camera, f"rate {window_s}")
        _order(camera, "watch")
        watched = asyncio.run(_beside(camera, window_s, url))
        ratios.append(watched / without)
        plain.append(without)
    return {"camera_rate_ratio": float(np.median(ratios)), "camera_hz_without": float(np.median(plain))}


async def _beside(camera: subprocess.Popen[str], window_s: float, url: str) -> float:
    rate = asyncio.to_thread(_order, camera, f"rate {window_s}")
    found, _ = await asyncio.gather(rate, _watch(url, window_s))
    return float(found)


async def _watch(url: str, seconds: float) -> Pictures:
    """Be a browser that draws at once."""
    origin = url.partition("/?token=")[0]
    page = await asyncio.to_thread(httpx.get, url, timeout=30)
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    live, home = origin.replace("http://", "ws://") + "/live", websockets.Origin(origin)
    seen = Pictures()
    async with websockets.connect(live, origin=home, additional_headers={"Cookie": cookie}, max_size=None) as link:
        await link.send('{"op":"view","quality":"exact"}')
        await link.send('{"op":"credit","n":2}')
        until_s: float | None = None
        with contextlib.suppress(TimeoutError):
            while until_s is None or time.monotonic() < until_s:
                message = await asyncio.wait_for(link.recv(), 60.0 if until_s is None else seconds + 5)
                if isinstance(message, bytes) and (header := header_of(message))["conditions"]:
                    until_s = until_s or time.monotonic() + seconds
                    _note(seen, header, len(message))
                    await link.send('{"op":"credit","n":1}')
                elif isinstance(message, bytes):
                    await link.send('{"op":"credit","n":1}')
    return seen


def _note(seen: Pictures, header: dict[str, Any], nbytes: int) -> None:
    now_s = time.monotonic()
    seen.ages_ms.append(now_s * 1e3 - header["last_plane_ms"])
    seen.arrived_s.append(now_s)
    seen.restored.append(all(channel["restored"] for channel in header["channels"]))
    seen.nbytes += nbytes


def _figures(seen: Pictures, spent_s: float) -> dict[str, float]:
    ages, restored = np.array(seen.ages_ms), np.array(seen.restored)
    time_s = seen.arrived_s[-1] - seen.arrived_s[0]
    slope = np.polyfit(np.array(seen.arrived_s) / 60, ages, 1)[0] if len(ages) > 2 else float("nan")
    return {
        "socket_ms_p50": float(np.percentile(ages, 50)),
        "socket_ms_p95": float(np.percentile(ages, 95)),
        "restored_per_s": float(restored.sum() / time_s),
        "raw_per_s": float((~restored).sum() / time_s),
        "age_growth_ms_per_min": float(slope),
        "cpu_ms_per_frame": 1e3 * spent_s / len(ages),
        "mib_per_s": seen.nbytes / 2**20 / time_s,
        "seconds": float(time_s),
    }


def _cpu_s(process: psutil.Popen) -> float:
    """Return the processor time of a process and its children."""
    family = [process, *process.children(recursive=True)]
    return float(sum(sum(one.cpu_times()[:2]) for one in family))


WATCH_DRAWING = """
careLive.ages = [];
const draw = careLive.draw.bind(careLive);
careLive.draw = () => {
  draw();
  const header = careLive.header();
  if (header?.conditions && header.sequence !== careLive.lastDrawn) {
    careLive.renderer.gl.finish();
    careLive.lastDrawn = header.sequence;
    careLive.ages.push([performance.now(), careLive.stream.gatewayMs() - header.last_plane_ms,
      header.channels.every((channel) => channel.restored)]);
  }
};
"""


def _drawn(url: str, folder: Path, seconds: float) -> dict[str, float]:
    """Open the page in a browser, and note when each picture is drawn."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.viewer.browser import Screen, chromium

    with chromium(folder / "profile") as window:
        screen = Screen(window, url)
        screen.until("careLive.stream.gatewayMs() !== undefined")
        window.execute_script(WATCH_DRAWING)
        time.sleep(seconds)
        drawn = screen.js("careLive.ages")
        window.get("about:blank")
    if len(drawn) < 2:
        return {"page_frames": float(len(drawn))}
    ages = np.array([age for _, age, _ in drawn])
    time_s = (drawn[-1][0] - drawn[0][0]) / 1e3
    return {
        "page_ms_p50": float(np.percentile(ages, 50)),
        "page_ms_p95": float(np.percentile(ages, 95)),
        "page_restored_per_s": sum(restored for *_, restored in drawn) / time_s,
        "page_frames": float(len(drawn)),
    }
