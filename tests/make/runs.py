"""What the daemon's tests run: small recorded time-lapses, a tiny network, free ports."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from care_live.config import Config, parse
from care_live.daemon.run import Daemon
from care_live.daemon.run_metrics import DaemonStatus
from tests.make.networks import save_network

_given_out: set[int] = set()
_N_SHARES = 16


def free_ports(n: int) -> list[int]:
    """Return ports that are free now, below those that systems give to outgoing connections, and each only once.

    A process that got one earlier may bind it later than another one gets the next; those of pytest-xdist that run at
    once get none in common.
    """
    free: list[int] = []
    first = 20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _N_SHARES
    while len(free) < n:
        port = random.SystemRandom().randrange(first, 32_000, _N_SHARES)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            free += [port] if port not in _given_out else []
            _given_out.add(port)
    return free


def movie(path: Path, times: int = 6, shape: tuple[int, int, int] = (8, 48, 56)) -> NDArray[np.uint16]:
    """Write a TZYX stack whose every plane tells its own place in its first pixels."""
    pixels = np.random.default_rng(3).integers(90, 900, (times, *shape)).astype(np.uint16)
    pixels[..., 0, 0] = np.arange(times)[:, None]
    pixels[..., 0, 1] = np.arange(shape[0])[None, :]
    tifffile.imwrite(path, pixels)
    return pixels


def settings(folder: Path, source: dict[str, object], **sections: dict[str, object]) -> dict[str, object]:
    """Return the settings of a run in a folder, with a tiny network and ports of its own."""
    model = folder / "tiny.onnx"
    if not model.exists():
        save_network(model)
    publish, pull, status = free_ports(3)
    tree: dict[str, dict[str, object]] = {
        "source": source,
        "restore": {"model": str(model), "threads": 1},
        "store": {"directory": str(folder / "runs")},
        "publish": {"bind": f"tcp://127.0.0.1:{publish}", "bind_pull": f"tcp://127.0.0.1:{pull}"},
        "daemon": {"status_bind": f"127.0.0.1:{status}"},
    }
    for name, section in sections.items():
        tree[name] = tree.get(name, {}) | section
    return tree


def config(folder: Path, source: dict[str, object], **sections: dict[str, object]) -> Config:
    return parse(settings(folder, source, **sections), origin="test")


def replay(path: Path, speed: object = "fastest", **more: object) -> dict[str, object]:
    return {"kind": "replay", "path": str(path), "axes": "TZYX", "speed": speed, **more}


def run(settings: Config, run_id: str = "test", meanwhile: Callable[[Daemon], None] | None = None) -> DaemonStatus:
    daemon = Daemon(settings, run_id)
    return daemon.run(on_start=lambda _: meanwhile(daemon) if meanwhile else None)


def command(*arguments: object, cwd: Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "care_live", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=os.environ | {"PYTHONFAULTHANDLER": "1"},
        check=False,
    )
