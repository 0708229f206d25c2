"""A real Java Micro-Manager with simulated devices; at most one runs on a machine at a time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest

from tests.conftest import need_data

WINDOW_PORT = 4827
"""Micro-Manager's window listens there and nowhere else."""
_START_S = 180.0
Kind = Literal["window", "engine"]
What = Literal["engine", "ND_TIFF", "MULTIPAGE_TIFF", "SINGLEPLANE_TIFF_SERIES"]


def need_java(kind: Kind) -> Path:
    """Return the folder of the program, or skip the test (fail where CARE_LIVE_REQUIRE_DATA is set)."""
    wanted = ("java", "Xvfb") if kind == "window" else ("java",)
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing:
        says = f"{' and '.join(missing)} not on the PATH: install openjdk-17-jre and xvfb"
        if os.environ.get("CARE_LIVE_REQUIRE_DATA"):
            pytest.fail(says)
        pytest.skip(says)
    return need_data("micromanager_java")


@contextmanager
def java_program(kind: Kind, folder: Path) -> Iterator[int]:
    """Run Micro-Manager's window or its engine alone; yield its port."""
    with alone_on_this_machine(), java_process(kind, folder) as (port, _):
        yield port


@contextmanager
def java_processes() -> Iterator[Callable[[Path], AbstractContextManager[tuple[int, subprocess.Popen[bytes]]]]]:
    """Yield what starts Micro-Manager's window, also once after the other, as long as no other test does."""
    with alone_on_this_machine():
        yield lambda folder: java_process("window", folder)


@contextmanager
def java_process(kind: Kind, folder: Path, *, on_display: str = "") -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run Micro-Manager; yield its port, and the first process of its group."""
    program = need_java(kind)
    folder.mkdir(exist_ok=True)
    import mm_test_adapters

    with ExitStack() as stack:
        port = WINDOW_PORT if kind == "window" else _free_port()
        _wait_until_free(port)
        command = [str(program / "start.sh"), "studio" if kind == "window" else "core"]
        command += [mm_test_adapters.device_adapter_path(), str(folder / "program")]
        command += [] if kind == "window" else [str(port)]
        if kind == "window" and not on_display:
            on_display = stack.enter_context(display())
        log, home = folder / "java.log", folder / "home"
        shown = {"DISPLAY": on_display or os.environ.get("DISPLAY", "")}
        own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}  # not the profile of who runs this
        process = stack.enter_context(_group(command, log, env={**os.environ, **shown, **own}))
        _wait_for_port(port, process, log)
        yield port, process


@contextmanager
def acquiring(what: What, port: int, folder: Path, numbers: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Ask for one acquisition of *numbers* times, planes and pixels a side, by the engine or in a window's format."""
    script = Path(__file__).with_name("java_acquire.py")
    command = [sys.executable, str(script), what, str(port), str(folder), *map(str, numbers)]
    with _group(command, folder.with_suffix(".log"), env=dict(os.environ)) as process:
        yield process


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    import fcntl  # no Windows: the program is for Linux

    with (Path(tempfile.gettempdir()) / "care-live-java.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _group(command: Sequence[str], log: Path, *, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program and end it with all that it started."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # the first of them may have ended before the others
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


@contextmanager
def display(size_px: tuple[int, int] = (1280, 1024)) -> Iterator[str]:
    """Run an X server without a screen; yield the name of its display."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "{}x{}x24".format(*size_px), "-nolisten", "tcp"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, pass_fds=(write,), start_new_session=True)
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait(60)


def _free_port() -> int:
    """Return a port from which on forty are free, below those of outgoing connections."""
    for first in range(20000 + 40 * (os.getpid() % 200), 32000, 40):
        with ExitStack() as stack:
            try:
                for port in range(first, first + 40):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    pytest.fail("no forty free ports side by side below 32000")


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_free(port: int) -> None:
    """Wait for the end of a Micro-Manager that was killed: the system frees its port only then."""
    deadline = time.monotonic() + _START_S
    while _listens(port):
        if time.monotonic() > deadline:
            pytest.fail(f"port {port} is taken: another Micro-Manager was left behind")
        time.sleep(0.2)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(port):
            return
        time.sleep(0.2)
    pytest.fail(f"Micro-Manager did not listen on port {port}: {log.read_text(errors='replace')[-2000:]}")
