"""Which worker gets the planes of a volume; no worker is started here, and that delays nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.daemon.placement import Placement
from care_live.images import VolumeKey
from care_live.open_volumes import VolumeOpened
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from care_live.worker.client import RestoreProcess
from care_live.worker.earlier_volumes import EarlierVolumes
from tests.make.inference import settings


@pytest.fixture
def workers() -> tuple[RestoreProcess, ...]:
    return tuple(RestoreProcess(settings(Path("none.onnx"))) for _ in range(3))


def opened(t: int, c: int = 0) -> VolumeOpened:
    return VolumeOpened(VolumeKey(t, 0, c), (0, 1), (4, 4), "uint16")


def test_volumes_go_to_the_workers_in_turn(workers: tuple[RestoreProcess, ...]) -> None:
    placement = Placement(workers)
    for t in range(5):
        placement.begin(opened(t))
    assert [placement.worker_of(VolumeKey(t)) for t in range(5)] == [*workers, *workers[:2]]


def test_channels_that_a_network_reads_together_go_to_one_worker(workers: tuple[RestoreProcess, ...]) -> None:
    placement = Placement(workers)
    placement.go_by(ChannelChoice((ChannelGroup(0, (0, 1)), ChannelGroup(1, (2,))), None), EarlierVolumes())
    for c in (0, 1, 2):
        placement.begin(opened(0, c))
    assert [placement.worker_of(VolumeKey(0, 0, c)) for c in (0, 1, 2)] == [workers[0], workers[0], workers[1]]


def test_one_that_is_restored_is_forgotten(workers: tuple[RestoreProcess, ...]) -> None:
    placement = Placement(workers)
    placement.begin(opened(0))
    placement.forget(VolumeKey(0))
    assert placement.worker_of(VolumeKey(0)) is None
