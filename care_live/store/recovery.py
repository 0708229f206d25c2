"""What a writer does before it continues a run that another one may have left in a crash."""

from __future__ import annotations

import logging
from pathlib import Path

from care_live.store.fsync import translated, with_retries
from care_live.store.ledger import Ledger
from care_live.store.quarantine import how_to_read, set_aside
from care_live.store.shards import is_raw, orphans, partial_files

logger = logging.getLogger(__name__)


def sweep(run: Path, ledger: Ledger) -> tuple[Path, ...]:
    """Tidy what a crash left and the journal does not acknowledge; return the raw files that were set aside.

    Raw files go into the quarantine, whole or half-written. Restored ones and metadata are deleted: they can be made
    again.

    Raises
    ------
    StoreError
        The disk is missing or read-only.
    """
    with translated(f"cannot tidy run {run}", run):
        left = [*partial_files(run), *orphans(run, ledger)]
        raw = tuple(path for path in left if is_raw(run, path))
        doomed = [path for path in left if path not in raw]
        if raw:
            folder = set_aside(run, raw)
            logger.warning(
                "raw set aside run=%s files=%d: no line of the journal acknowledges them; they are kept and can be "
                "read: %s",
                *(run.name, len(raw), how_to_read(folder)),
            )
        for path in doomed:
            with_retries(path.unlink)
    if doomed:
        logger.warning("run swept run=%s unacknowledged_restored_files=%d", run.name, len(doomed))
    return raw
