"""How the stages of a run end when something hangs: all that has arrived is written, and every wait has a deadline."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from care_live.daemon.deadline import Deadlines
from care_live.daemon.inbox import InboxClosed
from care_live.errors import StageError, StoreError

if TYPE_CHECKING:  # what it ends was made elsewhere
    from care_live.daemon.pipeline import Pipeline, Rooms

logger = logging.getLogger(__name__)

_HALT_S = 3.0
"""How long a stage may take to notice that it is to end at once."""
_STOP_S = 10.0
"""How long inference may take to stop."""
STORE_S = 300.0
"""A disk that takes longer for one sync counts as hung; long, since what waits for it can't be recorded again."""
REPORT_S = 5.0
"""How often a log line says that the run waits for the disk."""


def end_stages(
    pipeline: Pipeline,
    rooms: Rooms,
    deadlines: Deadlines,
    *,
    fail: Callable[[BaseException], None],
    at_once: Callable[[], bool],
) -> None:
    """End intake and restoring, in place of a source that hangs, then wait for the disk as long as it writes.

    Parameters
    ----------
    fail : called with what did not end
    at_once : true leaves out restored volumes that wait for the disk, and waits for no disk that refuses
    """
    pipeline.stop()
    _end_intake(pipeline, fail)
    if pipeline.restoring.alive:  # a volume in the network is given up; its raw one is stored
        with rooms.restoring:
            deadlines.within("stopping inference", lambda: rooms.restorer.stop(_STOP_S / 2), _STOP_S)
    pipeline.restoring.ended_within(_HALT_S)
    pipeline.close_storage()
    if at_once():
        pipeline.hurry()
    pipeline.restoring.ended_within(_HALT_S)
    _await_store(pipeline, fail, at_once)


def _end_intake(pipeline: Pipeline, fail: Callable[[BaseException], None]) -> None:
    """Close what the intake holds open; where that fails, the stages behind it still end."""
    if pipeline.intake.ended_within(_HALT_S):
        return
    try:
        if not pipeline.conclude("the source hangs: it delivers no event"):
            fail(StageError("the intake hangs: planes of open volumes are not written"))
    except InboxClosed:
        logger.warning("planes of open volumes are not written: the store has failed")
    except Exception as error:  # noqa: BLE001 - as with every stage: the disk is still waited for
        fail(error)


def _await_store(pipeline: Pipeline, fail: Callable[[BaseException], None], at_once: Callable[[], bool]) -> None:
    """Wait for a disk that makes progress, however slowly; give up when it makes none for too long."""
    progress, changed_s = pipeline.store_progress, time.monotonic()
    while not pipeline.storing.ended_within(REPORT_S):
        if at_once():
            pipeline.hurry()
        n_left, now_s = pipeline.n_unkept, time.monotonic()
        if pipeline.store_progress != progress:
            progress, changed_s = pipeline.store_progress, now_s
        elif now_s - changed_s > STORE_S:
            fail(StoreError(f"the disk hangs for {STORE_S:g} s: {n_left} records that arrived are not written"))
            return
        logger.warning("the disk is slow: %d records that arrived still wait to be written", n_left)
