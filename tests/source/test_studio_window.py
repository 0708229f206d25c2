"""What is said while no Micro-Manager answers."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from care_live.config import StudioConfig
from care_live.source.studio_window import StudioWindow


class Lines(logging.Handler):
    """Notes the first line that contains some words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words, self.came = words, threading.Event()
        self.level_name = ""

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage() and not self.came.is_set():
            self.level_name = record.levelname
            self.came.set()


@pytest.fixture
def port() -> Iterator[int]:
    """Of a program that listens, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_another_program_on_the_port_is_a_warning(port: int) -> None:
    lines, logger = Lines("another program has this port"), logging.getLogger("care_live.source.studio_window")
    logger.addHandler(lines)
    try:
        with closing(StudioWindow(StudioConfig(port=port), answer_s=0.3)) as window:
            assert lines.came.wait(60)
            assert lines.level_name == "WARNING" and not window.seen.is_set()
    finally:
        logger.removeHandler(lines)
