"""A recorder beside a real daemon that is killed and started again: the copy is the run."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from care_live.store import RunReader, verify
from tests.faults.lab import RUN, daemon, recorded
from tests.viewer.test_recorded_run import record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_TIMES = 60
"""So many that each daemon is killed long before its last one."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that kills")
@pytest.mark.parametrize("policy", ["latest", "defer"])
def test_a_copy_is_whole_though_the_daemon_is_killed_again_and_again(tmp_path: Path, policy: str) -> None:
    """What a killed daemon stored, and its successor does not publish, the recorder asks for by key."""
    recorded(tmp_path, times=N_TIMES)
    more: dict[str, dict[str, object]] = {"restore": {"policy": policy}, "publish": {"replay_mib": 0}}
    with ExitStack() as stack:
        with daemon(tmp_path, **more) as first:
            more["publish"] = dict(first.tree["publish"])
            recorder = record(first.address, tmp_path / "copy")
            stack.callback(recorder.kill)
            first.wait_for_volumes(5)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait(60)
        with daemon(tmp_path, **more) as second:
            second.wait_for_volumes(5)
            second.process.send_signal(signal.SIGKILL)
            second.process.wait(60)
        with daemon(tmp_path, **more) as third:
            shed = third.end()["shed"]
        said, _ = recorder.communicate(timeout=120)
    there, here = RunReader(tmp_path / "runs" / RUN), RunReader(tmp_path / "copy" / RUN)
    assert recorder.returncode == 0, said
    assert len(here.keys("raw")) == N_TIMES
    for product in ("raw", "restored"):
        lacks = set(here.keys(product)) ^ set(there.keys(product))
        assert not lacks, f"{product} in one of both only: {sorted(lacks)}; {shed} shed\n{third.last_lines}\n{said}"
        for key in there.keys(product):
            assert (here.read(product, key) == there.read(product, key)).all()
            assert here.state(key, product) == there.state(key, product)
    assert verify(tmp_path / "copy" / RUN).clean
