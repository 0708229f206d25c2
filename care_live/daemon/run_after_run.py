"""The store of one run of a source that has one after the other: an acquisition that does not go on begins anew."""

from __future__ import annotations

import logging
from dataclasses import replace

from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import Frame, RunStarted, SourceEvent
from care_live.source import KeepsFrames, Source
from care_live.source.run_names import run_names
from care_live.store import Claim, claim_run

logger = logging.getLogger(__name__)


class RenamedRun:
    """A source whose run gets another name than the one that it was waited for under.

    Parameters
    ----------
    source : of the run
    run_id : its name
    """

    def __init__(self, source: Source, run_id: str) -> None:
        self._source, self._run_id = source, run_id

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        event = self._source.next_event(timeout_s)
        return replace(event, run_id=self._run_id) if isinstance(event, RunStarted | Frame) else event

    def stored(self, before: int) -> None:
        """Note that the frames that arrived before this one are safe."""
        if isinstance(self._source, KeepsFrames):
            self._source.stored(before)

    def stop(self) -> None:
        self._source.stop()

    def close(self) -> None:
        self._source.close()


def claim_begun(
    config: StoreConfig, source: Source, started: RunStarted, *, resume: bool
) -> tuple[Claim, Source, RunStarted]:
    """Take the run of an acquisition that has begun; under another name where it does not go on with what is there.

    Parameters
    ----------
    resume : the run of this name goes on where the acquisition is the one that was interrupted

    Raises
    ------
    StoreError
        The store takes no run, also under another name.
    """
    try:
        return _claimed(config, started, resume=resume), source, started
    except StoreError as error:
        name = next(run_names(started.run_id, lambda name: (config.directory / name).exists()))
        if name == started.run_id:  # there was nothing to go on with
            raise
        logger.warning(
            "this acquisition is run %s, since it does not go on with run %s: %s", name, started.run_id, error
        )
    started = replace(started, run_id=name)
    return _claimed(config, started, resume=False), RenamedRun(source, name), started


def _claimed(config: StoreConfig, started: RunStarted, *, resume: bool) -> Claim:
    claim = claim_run(config, started.run_id, resume=resume)
    try:
        claim.refuse_other(started)
    except BaseException:
        claim.close()
        raise
    return claim
