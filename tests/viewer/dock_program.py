"""A program with a core in Live and care_live's dock for pymmcore-gui; it prints what the dock shows, and ends.

A process of its own: Qt needs the main thread, and pymmcore-plus may abort when the interpreter ends.
"""

from __future__ import annotations

import json
import os
import sys
import time

from qtpy.QtWidgets import QApplication

from care_live.viewer.pymmcore_dock import RestoredLiveDock
from tests.source.live_program import demo_core

WAIT_S = 120.0


def main(live: str, runs: str, watchers: str) -> None:
    app = QApplication(sys.argv)
    core = demo_core("pymmcore-plus")
    dock = RestoredLiveDock(core, live_address=live, runs_address=runs, watchers_address=watchers)
    dock.show()
    core.startContinuousSequenceAcquisition(0)
    until_s = time.monotonic() + WAIT_S
    while dock.pixmap.isNull() and time.monotonic() < until_s:
        app.processEvents()
        time.sleep(0.005)
    shown = {"size": [dock.pixmap.width(), dock.pixmap.height()], "words": dock.words}
    core.stopSequenceAcquisition()
    dock.end()
    print(json.dumps(shown))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
