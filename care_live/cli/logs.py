"""Logging: configured here and nowhere else; to stderr, one line a volume."""

from __future__ import annotations

import logging
import sys

import click

from care_live.wire.printable import printable


def configure(verbose: int) -> None:
    """Send our log lines to stderr: warnings, with -v one line a volume, with -vv everything."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    ours = logging.getLogger("care_live")
    ours.setLevel(level)
    ours.handlers[:] = [lines]
    ours.propagate = False


class _OneLine(logging.Formatter):
    """Escapes line ends in a message, so that text from another machine cannot forge a log line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)


verbosity = click.option("-v", "--verbose", count=True, default=1, help="Write more log lines (twice: everything).")
quiet = click.option("-q", "--quiet", is_flag=True, help="Write only warnings.")
