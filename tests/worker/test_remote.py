"""Inference on another machine: the same numbers over a link, and what a worker does there costs its volume only."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from care_live.errors import ModelError, WorkerLostError
from care_live.images import Restored
from care_live.worker import remote_protocol as link
from care_live.worker.client import RestoreProcess
from care_live.worker.remote_port import RemotePort
from tests.make.inference import planes_of, settings
from tests.make.remote import WAIT_S
from tests.make.remote import remote_worker as started
from tests.make.remote_links import FIXED, stack
from tests.make.waiting import until


def equal(ours: tuple[Restored, ...], theirs: tuple[Restored, ...]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.key, one.low, one.high, one.model, one.flags) == (
            other.key, other.low, other.high, other.model, other.flags,
        )  # fmt: skip
        assert set(one.maps) == set(other.maps)
        for head, array in one.maps.items():
            np.testing.assert_array_equal(array, other.maps[head])


@pytest.mark.slow
def test_results_are_those_of_a_worker_on_this_machine(port: RemotePort, network: Path, monkeypatch) -> None:
    """Whole, with more messages than one, and plane by plane; a network file that lies on this machine only."""
    monkeypatch.setattr(link, "PART_BYTES", 2 * 24 * 20 * 2)
    config = settings(network, normalise=FIXED)
    near, far = RestoreProcess(config), RestoreProcess(config, port.open)
    with started(port.invitation(port.address)):
        try:
            near.start()
            far.start()
            assert far.supervisor.host and not far.supervisor.is_absent
            for t in range(2):
                equal(far.restore([stack(t)]), near.restore([stack(t)]))
            far.supervisor.warm_up((6, 24, 20))
            for t in range(2, 6):
                opened, planes = planes_of(stack(t))
                far.arrivals.begin(opened)
                shown: list[Restored] = []
                for plane in planes:
                    far.arrivals.place(plane)
                    shown += far.arrivals.restored_planes()
                restored = far.restore([stack(t)])
                (expected,) = near.restore([stack(t)])
                np.testing.assert_allclose(restored[0].maps["mean"], expected.maps["mean"], rtol=1e-3, atol=0.5)
                for one in shown:
                    np.testing.assert_array_equal(one.maps["mean"], restored[0].maps["mean"][one.z])
            assert far.choice is not None and far.choice.kind == "stream"
        finally:
            near.stop()
            far.stop()
    until(lambda: not port.hosts, WAIT_S)


@pytest.mark.slow
def test_a_lost_worker_is_replaced_by_another(port: RemotePort, network: Path, monkeypatch) -> None:
    """The closed connection says that it is lost: silence never does here."""
    monkeypatch.setattr(link, "LOST_S", 1e6)
    far = RestoreProcess(settings(network), port.open)
    with started(port.invitation(port.address)) as process:
        try:
            far.start()
            (before,) = far.restore([stack(0)])
            process.kill()
            with pytest.raises(WorkerLostError, match=r"the connection of .* is closed"):
                far.restore([stack(1)])
            assert far.supervisor.is_absent
            with started(port.invitation(port.address)):
                far.revive()
                (after,) = far.restore([stack(0)])
                np.testing.assert_array_equal(after.maps["mean"], before.maps["mean"])
        finally:
            far.stop()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_machine_that_falls_silent_is_given_up_though_its_connection_stays(
    port: RemotePort, network: Path, monkeypatch
) -> None:
    far = RestoreProcess(settings(network), port.open)
    with started(port.invitation(port.address)) as process:
        try:
            far.start()
            process.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(link, "LOST_S", 2.0)
            with pytest.raises(WorkerLostError, match="is silent: nothing has come from"):
                far.restore([stack(0)])
        finally:
            process.send_signal(signal.SIGCONT)
            far.stop()


@pytest.mark.slow
def test_a_network_that_can_not_run_there_is_refused_with_its_reason(port: RemotePort, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    far = RestoreProcess(settings(tmp_path / "no.onnx"), port.open)
    with started(port.invitation(port.address)), pytest.raises(ModelError, match="ONNX"):
        far.start()


# -- a worker that lies ----------------------------------------------------------------------------------------------
