"""Ctrl-C and a hang-up drain a daemon."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from care_live.daemon.run import Daemon
from care_live.daemon.signals import drained_by_signals

pytestmark = [pytest.mark.slow]


def test_signals_that_cannot_be_taken_leave_no_thread() -> None:
    failed: list[Exception] = []

    def elsewhere() -> None:
        try:
            with drained_by_signals(None):  # type: ignore[arg-type]
                pass
        except ValueError as error:  # only the main thread may take signals
            failed.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failed
    assert "care-live signals" not in {one.name for one in threading.enumerate()}


@contextlib.contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    """Handle a signal so while inside."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(sys.platform == "win32", reason="a closed terminal is no signal there")
def test_a_hang_up_drains_unless_nohup_has_it_ignored() -> None:
    drained = threading.Event()
    daemon = cast(Daemon, SimpleNamespace(drain=drained.set))
    with handled(signal.SIGHUP, signal.SIG_DFL), drained_by_signals(daemon):  # the tests may run under nohup
        signal.raise_signal(signal.SIGHUP)
        assert drained.wait(60)
    with handled(signal.SIGHUP, signal.SIG_IGN), drained_by_signals(daemon):
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_ctrl_c_drains_a_daemon_that_a_script_started_in_the_background() -> None:
    """There a shell has it ignored."""
    drained = threading.Event()
    daemon = cast(Daemon, SimpleNamespace(drain=drained.set))
    with handled(signal.SIGINT, signal.SIG_IGN), drained_by_signals(daemon):
        signal.raise_signal(signal.SIGINT)
        assert drained.wait(60)
