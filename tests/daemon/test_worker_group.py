"""Several workers as one restorer: who takes which volume, and that ranges are those of one worker."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from care_live.config import RestoreConfig
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import WorkerLostError
from care_live.images import VolumeKey
from care_live.restore.engine import Engine
from tests.make.inference import planes_of, settings
from tests.make.networks import noisy
from tests.make.records import volume
from tests.make.waiting import until
from tests.make.worker_groups import stacks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(network: Path) -> Iterator[WorkerGroup]:
    group = WorkerGroup(settings(network, workers=2))
    group.start()
    yield group
    group.stop()


def test_ranges_are_those_of_one_worker_whichever_restores(two: WorkerGroup, network: Path) -> None:
    engine = Engine(network, settings(network))
    for n, stack in enumerate(stacks(p=0)):
        ours, theirs = two.restore(two.workers[n % 2], [stack]), engine.restore([stack])
        assert (ours[0].low, ours[0].high) == (theirs[0].low, theirs[0].high)
        np.testing.assert_array_equal(ours[0].maps["mean"], theirs[0].maps["mean"])


def test_a_volume_waits_until_those_that_change_its_range_are_measured(two: WorkerGroup) -> None:
    _, second = two.workers
    key, at_work = VolumeKey(1, 7), {VolumeKey(0, 7)}
    assert not two.may_take(second, [key], at_work)
    assert two.may_take(second, [key], {VolumeKey(0, 8)})
    assert two.measure([stacks(p=7)[0]])
    assert two.may_take(second, [key], at_work)


def test_ranges_are_those_of_one_worker_whichever_ends_first(two: WorkerGroup, network: Path) -> None:
    engine, (first, second) = Engine(network, settings(network)), two.workers
    wanted = [engine.restore([stack])[0] for stack in stacks(p=6)]
    for stack in stacks(p=6):
        two.measure([stack])
    for n, worker in ((2, second), (0, first), (3, first), (1, second)):
        (ours,) = two.restore(worker, [stacks(p=6)[n]])
        assert (ours.low, ours.high) == (wanted[n].low, wanted[n].high)
        np.testing.assert_array_equal(ours.maps["mean"], wanted[n].maps["mean"])


def test_a_streamed_volume_is_left_to_its_worker(two: WorkerGroup) -> None:
    for stack in stacks(p=3, n=3):
        two.restore(two.workers[0], [stack])
        two.restore(two.workers[1], [stack])
    opened, _ = planes_of(volume(noisy((3, 16, 16)), VolumeKey(9, 3)))
    two.arrivals.begin(opened)
    owner = two.arrivals.worker_of(opened.key)
    assert owner is not None and owner.arrivals.is_streaming(opened.key)
    other = next(worker for worker in two.workers if worker is not owner)
    assert two.may_take(owner, [opened.key])
    assert not two.may_take(other, [opened.key])


def test_volumes_go_to_the_workers_in_turn(two: WorkerGroup) -> None:
    for t in range(20, 24):
        two.arrivals.begin(planes_of(volume(noisy((3, 16, 16)), VolumeKey(t, 5)))[0])
    workers = [two.arrivals.worker_of(VolumeKey(t, 5)) for t in range(20, 24)]
    assert workers[0] is not workers[1]
    assert workers[:2] == workers[2:]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_volume_of_a_lost_worker_may_go_to_the_other(network: Path) -> None:
    group = WorkerGroup(settings(network, workers=2))
    group.start()
    try:
        first, second = group.workers
        opened, _ = planes_of(stacks(p=0)[0])
        group.arrivals.begin(opened)
        os.kill(group.process_ids[0], signal.SIGKILL)
        until(lambda: not first.supervisor.is_ready)
        with pytest.raises(WorkerLostError):
            group.restore(first, [stacks(p=0)[0]])
        assert group.may_take(second, [opened.key])
        assert group.restore(second, [stacks(p=0)[0]])[0].key == opened.key
        first.revive()
        assert [worker["state"] for worker in group.described()] == ["waiting", "waiting"]
        assert [worker["restarts"] for worker in group.described()] == [1, 0]
    finally:
        group.stop()


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_of_several_networks_each_has_one_provider_in_all_workers(network: Path, other: Path) -> None:
    asked = [{"name": "GFP", "model": network}, {"name": "RFP", "model": other, "provider": "openvino"}]
    group = WorkerGroup(settings(None, workers=2, channel=asked))
    group.start()
    try:
        for worker in group.workers:
            assert [one.provider for one in worker.networks] == ["cpu", "openvino"]
    finally:
        group.stop()


def test_each_worker_has_its_device_and_its_share_of_the_cores() -> None:
    own = RestoreConfig(devices=(0, 3), threads=2).each_worker
    assert [(one.device, one.threads, one.workers) for one in own] == [(0, 2, 1), (3, 2, 1)]
    assert len({one.threads for one in RestoreConfig(workers=2).each_worker}) == 1
    assert RestoreConfig().each_worker == (RestoreConfig(workers=1, threads=0, devices=()),)
    with pytest.raises(ValueError, match="one worker runs on each device"):
        RestoreConfig(devices=(0, 1), workers=3)
    with pytest.raises(ValueError, match="set one of the two"):
        RestoreConfig(devices=(0, 1), device=1)
