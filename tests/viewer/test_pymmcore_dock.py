"""The dock of pymmcore-gui sends Live to a daemon and shows what the daemon publishes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from care_live.images import Plan, RunStarted
from care_live.live_frame import LIVE_RUN
from care_live.publish import Publisher
from care_live.source.live_link import LiveLink
from tests.make import samples

ROOT = Path(__file__).parents[2]


@pytest.mark.mm
@pytest.mark.slow
def test_live_is_sent_and_the_restored_picture_is_shown() -> None:
    pytest.importorskip("qtpy")
    with closing(Publisher(samples.config())) as publisher, closing(LiveLink("tcp://127.0.0.1:0", None)) as link:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.viewer.dock_program", link.address, link.address, publisher.address_pull],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
            text=True,
        )
        try:
            frame = link.frames.take(120)
            assert frame is not None
            assert frame.pixels.shape == (512, 512)
            publisher.start(RunStarted(LIVE_RUN, Plan({}, (8, 8), endless=True), {"live": True}), samples.NETWORK)
            restored = samples.restored(1)
            publisher.publish(replace(restored, raw=replace(restored.volume, run_id=LIVE_RUN)))
            said, _ = program.communicate(timeout=150)
        finally:
            program.kill()
            program.wait(60)
    shown = json.loads(said.splitlines()[-1])
    assert shown["size"] == list(reversed(samples.SHAPE[1:]))
    assert "live: restored" in shown["words"]
