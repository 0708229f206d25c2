"""The state that Windows gets of a service."""

from __future__ import annotations

from care_live.daemon.service_control import RUNNING, STOP_PENDING, STOPPED, state_of


def test_what_windows_gets_of_a_service() -> None:
    running, stopping, failed = state_of(RUNNING), state_of(STOP_PENDING, checkpoint=3), state_of(STOPPED, exit_code=2)
    assert (running.accepts, running.patience_ms) == (0x101, 0)
    assert (stopping.accepts, stopping.checkpoint, stopping.patience_ms) == (0, 3, 30_000)
    assert (failed.error, failed.exit_code) == (1066, 2)
    assert state_of(STOPPED).error == 0
