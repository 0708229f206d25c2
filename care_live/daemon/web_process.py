"""The browser page in a process of its own, which starts beside a run and ends with it."""

from __future__ import annotations

import contextlib
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

from care_live.config import PublishConfig, WebConfig
from care_live.errors import StageError

_URL = re.compile(r"https?://\S+")
_START_S = 60.0
_STOP_S = 5.0
_LINES = 200
"""Of its output that are kept, until its address is found."""


class Page:
    """Runs ``care-live web`` and knows its address.

    Parameters
    ----------
    web, publish : where the page is served, and where it gets its volumes
    run_directory : for the history; None: the source has run after run
    """

    def __init__(self, web: WebConfig, publish: PublishConfig, run_directory: Path | None) -> None:
        self._command = [sys.executable, "-m", "care_live", "web", "--until-stdin-ends", "--bind", web.bind]
        self._command += ["--connect", publish.bind_pull]
        self._command += [] if run_directory is None else ["--run", str(run_directory)]
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES)
        self._reader = threading.Thread(target=self._read, name="care-live page")

    def start(self) -> str:
        """Start the page and return its address, token included.

        Raises
        ------
        StageError
            The page did not start; the message has its last line.
        """
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader.start()
        said = "nothing"
        try:
            while (line := self._lines.get(timeout=_START_S)) is not None:
                if found := _URL.search(line):
                    return found.group()
                said = line.strip() or said
        except queue.Empty:
            pass
        self.stop()
        raise StageError(f"the browser page did not start; it said: {said}")

    def stop(self) -> None:
        """End the process; returns within ten seconds."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()  # that orders its end
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._reader.join(_STOP_S)

    def _read(self) -> None:
        """Keep the pipe empty, so that the page never blocks when it prints."""
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with contextlib.suppress(queue.Full):  # its address was found, so no line is taken any more
                    self._lines.put_nowait(line)
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
