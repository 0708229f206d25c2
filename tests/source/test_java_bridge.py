"""The Java backend against an emulated peer of its wire format (see java_peer.py for what that proves)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from care_live.config import AcquisitionConfig, Channel, MicroManagerConfig
from care_live.images import RunEnded, RunStarted, SequenceEnded
from care_live.source.micromanager import events_of
from care_live.source.tap import planned
from tests.make.runs import free_ports
from tests.source.java_peer import SHAPE, JavaPeer
from tests.source.test_micromanager import acquire, ended, frames

pytestmark = [pytest.mark.mm, pytest.mark.slow]


@pytest.fixture
def peer() -> Iterator[JavaPeer]:
    opened = JavaPeer()
    yield opened
    opened.close()


@pytest.mark.parametrize("merge", [False, True], ids=["snapped", "hardware-sequenced"])
def test_frames_come_through_the_java_bridge(peer: JavaPeer, merge: bool) -> None:
    acquisition = AcquisitionConfig(
        time_points=3,
        z_planes=4,
        channels=(Channel(preset="DAPI", exposure_ms=5), Channel(preset="FITC", exposure_ms=7)),
        hardware_sequence=merge,
    )
    got = acquire(MicroManagerConfig(backend="java", port=peer.port, acquisition=acquisition), within_s=60)
    started = got[0]
    assert isinstance(started, RunStarted)
    assert (started.plan.shape_px, started.plan.channels) == (SHAPE, ("DAPI", "FITC"))
    assert ended(got) == RunEnded("finished", n_delivered=24)
    assert [frame.index for frame in frames(got)] == list(planned(events_of(acquisition)).order)
    assert all((frame.pixels == number).all() for number, frame in enumerate(frames(got)))
    assert {frame.exposure_ms for frame in frames(got)} == {5.0, 7.0}
    sequences = [event for event in got if isinstance(event, SequenceEnded)]
    assert sequences == ([SequenceEnded(i, 4, 4) for i in range(6)] if merge else [])


def test_no_micro_manager_on_the_port_is_one_clear_line() -> None:
    (port,) = free_ports(1)
    (only,) = acquire(MicroManagerConfig(backend="java", port=port), within_s=60)
    assert isinstance(only, RunEnded)
    assert only.reason == "failed"
    assert f"no Micro-Manager answers on port {port}" in only.detail
