"""A run claimed for writing: read, locked and checked before anything is exposed to light."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import cast

from care_live import __version__
from care_live.config import StoreConfig
from care_live.errors import StoreError
from care_live.images import RunStarted
from care_live.recorded.journal_lines import JOURNAL_NAME
from care_live.recorded.run_records import RunBegan, from_json, to_json
from care_live.store.fsync import make_folder, sync_folder, translated
from care_live.store.journal import Journal
from care_live.store.ledger import Ledger
from care_live.store.lock import LOCK_NAME, RunLock, is_taken
from care_live.store.same_run import check_goes_on
from care_live.store.shards import raw_files

RUN_ID_RULE = "1 to 64 characters of 0-9 A-Z a-z _ -"
"""What a run may be called: its name is a folder's name, and travels in every message of cl1."""


def is_run_id(name: str) -> bool:
    """Return whether a run may have this name; see `RUN_ID_RULE`."""
    return re.fullmatch(r"[0-9A-Za-z_-]{1,64}", name) is not None


def claim_run(config: StoreConfig, run_id: str, *, resume: bool = False) -> Claim:
    """Take the run ``directory/RUN_ID`` for writing; nothing that lies there is changed.

    Parameters
    ----------
    config : StoreConfig
    run_id : str
        See `RUN_ID_RULE`.
    resume : bool
        Go on even where the run has finished.

    Raises
    ------
    StoreError
        The name is invalid, the folder cannot be written, another writer is at work in it, its journal is damaged or
        lost, or the run has finished and `resume` is False.
    """
    if not is_run_id(run_id):
        raise StoreError(f"run id {run_id[:80]!r} is invalid: wanted {RUN_ID_RULE}")
    claim = Claim(config.directory / run_id)
    try:
        if not resume:
            claim.refuse_finished()
    except BaseException:
        claim.close()
        raise
    return claim


class Claim:
    """The right to write one run, held until `close`.

    Raises
    ------
    StoreError
        As `claim_run`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger()
        with translated(f"cannot create run folder {path}", path):
            self._is_new = not path.exists()
            make_folder(path)
            sync_folder(path.parent)
        with translated(f"cannot open run {path}", path), contextlib.ExitStack() as undoing:
            lock = RunLock(path)
            undoing.callback(lock.close)
            self._refuse_lost_journal()
            self.journal = Journal(path)
            undoing.callback(self.journal.close)
            self.ledger.replay(self.journal.records)
            self._refuse_no_beginning()
            self._held = undoing.pop_all()

    def refuse_finished(self) -> None:
        """Raise a StoreError where the run came to its planned end."""
        ended = self.ledger.ended
        if ended is None or not ended.is_complete:
            return
        n_raw, n_left = len(self.ledger.raw), len(self.ledger.raw_only())
        raise StoreError(
            f"run {self.path} has finished: {n_raw} raw volumes are stored, {n_left} of them not restored; "
            "use another run_id, or --resume (resume = true) to go on with this one"
        )

    def refuse_other(self, started: RunStarted) -> RunBegan:
        """Return how an acquisition begins, as it would be read back.

        Raises
        ------
        StoreError
            It does not go on with what the run has.
        """
        now = RunBegan.of(started, care_live=__version__, at_us=time.time_ns() // 1000)
        now = cast(RunBegan, from_json(to_json(now)))
        ledger = self.ledger
        if ledger.began is not None:
            stored = ledger.raw.keys()
            check_goes_on(ledger.began, now, self.path, taps=ledger.taps, stored=stored, plan=started.plan)
        return now

    def close(self) -> None:
        """Release the run; where nothing was written, its folder is deleted, too."""
        unused = self._is_new and self.journal.is_empty
        if unused and os.name != "nt":
            self._remove_unused()
        self._is_new = False  # closed again, it must not take the folder of a later writer
        self._held.close()
        if unused and os.name == "nt":  # which does not delete what is open
            self._remove_unused()

    def _remove_unused(self) -> None:
        with contextlib.suppress(OSError):
            for name in (JOURNAL_NAME, LOCK_NAME):
                (self.path / name).unlink()
            self.path.rmdir()

    def _refuse_lost_journal(self) -> None:
        journal = self.path / JOURNAL_NAME
        if not journal.exists() or journal.stat().st_size == 0:
            self._refuse_raw_without("has none" if not journal.exists() else "is empty")

    def _refuse_no_beginning(self) -> None:
        if self.ledger.began is not None:
            return
        self._refuse_raw_without("has no beginning of the run")
        if self.journal.records:
            raise StoreError(f"journal {self.journal.path} has no beginning of its run; use another run_id")

    def _refuse_raw_without(self, why: str) -> None:
        """Raise a StoreError where raw volumes lie, since without a journal any of them may be torn."""
        if n_raw := len(raw_files(self.path)):
            raise StoreError(
                f"{self.path} holds {n_raw} raw volumes, but its journal {why}; nothing was changed. Put "
                f"{JOURNAL_NAME} back, or use another run_id; the volumes can be read: zarr.open_array("
                f"'{self.path.as_posix()}/raw/POSITION/0')[t, c]"
            )


def is_claimed(run: Path) -> bool:
    """Return whether a writer is at work on this run."""
    return any(is_taken(run / name) for name in (LOCK_NAME, JOURNAL_NAME))
