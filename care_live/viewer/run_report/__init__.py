"""One HTML page on one run: what came, what was lost, how old restored volumes were, and where to look twice.

The page carries its pictures and its style: it opens without a network, years later.
"""

from __future__ import annotations

from pathlib import Path

from care_live.errors import StoreError
from care_live.store import RunReader
from care_live.viewer.run_report.report_page import page
from care_live.viewer.run_report.run_facts import gather
from care_live.viewer.run_report.worst_places import worst_places


def write(run: Path, target: Path) -> Path:
    """Write the report on a run, finished or still being written.

    Raises
    ------
    StoreError
        There is no run, or the page cannot be written.
    """
    reader = RunReader(run)
    facts = gather(reader)
    text = page(facts, worst_places(reader, facts))
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write the report {target}: {error.strerror}; give another file with --out") from error
    return target
