"""The inference process by its messages alone: it answers orders, outlives what is wrong, and ends when it shall."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path

import numpy as np
import pytest

from care_live.config import RestoreConfig
from care_live.images import Volume, VolumeHead, VolumeKey
from care_live.percentiles import Span
from care_live.reasons import Choice, whole
from care_live.restore.engine import Engine
from care_live.restore.result_maps import ResultMaps
from care_live.wire.codec import record_of
from care_live.worker import inference_server, protocol
from care_live.worker.buffers import SharedVolume, allocate, lay_out
from care_live.worker.liveness import Pulse
from care_live.worker.shared_memory import Pool
from tests.make.inference import settings
from tests.make.remote_links import FIXED, stack

pytestmark = pytest.mark.slow
WAIT_S = 240.0


class Child:
    """A process that serves, and memory that it shares with this one."""

    def __init__(self, config: RestoreConfig) -> None:
        context = multiprocessing.get_context("spawn")
        self.pulse, self.pool = Pulse(context), Pool()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=inference_server.main, args=(theirs, self.pulse, config, {}), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, message: protocol.InferenceRequest) -> None:
        self.pipe.send_bytes(protocol.requests.encode(message))

    def answer(self) -> protocol.InferenceAnswer:
        assert connection.wait([self.pipe, self.process.sentinel], WAIT_S)
        return protocol.answers.decode(self.pipe.recv_bytes())

    def done(self) -> protocol.Done:
        answer = self.answer()
        assert isinstance(answer, protocol.Done), answer
        return answer

    def work(self, shared: SharedVolume, volume: Volume, choice: Choice | None) -> protocol.Work:
        heads, alive = (record_of(VolumeHead, volume),), self.pool.alive()
        return protocol.Work(heads, shared.addresses, shared.results, {}, alive, choice)

    def exit_code(self) -> int | None:
        self.process.join(WAIT_S)
        return self.process.exitcode


@contextmanager
def served(config: RestoreConfig) -> Iterator[Child]:
    child = Child(config)
    try:
        yield child
    finally:
        child.process.kill()
        child.process.join(WAIT_S)
        child.pipe.close()


@pytest.fixture
def config(network: Path) -> RestoreConfig:
    return settings(network, normalise=FIXED)


def test_it_names_its_networks_restores_and_ends_by_a_message(config: RestoreConfig) -> None:
    """What lies in shared memory afterwards is what an engine in this process gives."""
    (expected,) = (engine := Engine(config.networks[0].model, config)).restore([stack(0)])
    with served(config) as child:
        ready = child.answer()
        assert isinstance(ready, protocol.Ready) and child.pulse.has_entered
        assert [(one.card, one.identity, one.provider) for one in ready.networks] == [
            (engine.card, engine.identity, "cpu")
        ]
        assert ready.limit_bytes > 0
        shared = lay_out(child.pool, ResultMaps.of(engine.card, config), [stack(0)])
        child.send(child.work(shared, stack(0), whole("stored")))
        done = child.done()
        assert (done.choice, done.results[0].key) == (whole("stored"), VolumeKey(0))
        (restored,) = shared.results_of([stack(0)], done)
        assert set(restored.maps) == set(expected.maps)
        for head, array in expected.maps.items():
            np.testing.assert_array_equal(restored.maps[head], array)
        child.send(protocol.StopInference())
        assert child.exit_code() == 0
        assert child.pulse.read(0.0).n_handled == 1


def test_planes_are_restored_when_they_are_announced(config: RestoreConfig) -> None:
    config = config.model_copy(update={"streaming": "on"})
    engine, volume = Engine(config.networks[0].model, config), stack(2)
    (expected,) = engine.restore([volume])
    with served(config) as child:
        child.answer()
        shared = allocate(child.pool, ResultMaps.of(engine.card, config), [volume.pixels.shape], volume.pixels.dtype)
        place, results = shared.addresses, shared.results
        spans = (Span(FIXED["low_counts"], FIXED["high_counts"]),)
        child.send(protocol.Begin(volume.key, place, shared.progress_address, results, spans, plane_s=1.0))
        shared.pixels[0][:3] = volume.pixels[:3]
        child.send(protocol.PlanesPlaced(volume.key, ((0, 0), (0, 1), (0, 2))))
        other = stack(3)  # its answer shows that the planes before it were dealt with
        child.send(child.work(lay_out(child.pool, ResultMaps.of(engine.card, config), [other]), other, whole("stored")))
        child.done()
        assert shared.progress.n_taken == 3
        shared.pixels[0][3:] = volume.pixels[3:]
        child.send(child.work(shared, volume, None))
        done = child.done()
        assert done.choice.kind == "stream"
        (restored,) = shared.results_of([volume], done)
        np.testing.assert_allclose(restored.mean, expected.mean, rtol=1e-3, atol=0.5)


def test_what_is_wrong_costs_one_volume_and_what_is_only_a_hint_costs_none(config: RestoreConfig) -> None:
    unknown = VolumeKey(77)
    with served(config) as child:
        ready = child.answer()
        assert isinstance(ready, protocol.Ready)
        shared = lay_out(child.pool, ResultMaps.of(ready.networks[0].card, config), [stack(0)])
        good = child.work(shared, stack(0), whole("stored"))
        child.send(protocol.PlanesPlaced(unknown, ((0, 0),)))
        child.send(protocol.Abandon(unknown, whole("overtaken")))
        child.send(protocol.WarmUp((1, 1, 1)))
        child.send(protocol.Work(good.volumes * 2, good.pixels * 2, good.results, {}, good.alive, whole("stored")))
        failed = child.answer()
        assert isinstance(failed, protocol.Failed) and failed.kind == "RestoreError", failed
        child.send(good)
        assert child.done().results[0].key == VolumeKey(0)


def test_a_network_that_must_not_run_is_said_and_the_process_ends(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with served(settings(tmp_path / "no.onnx")) as child:
        failed = child.answer()
        assert isinstance(failed, protocol.Failed)
        assert failed.kind == "ModelError" and "not an ONNX file" in failed.message
        assert child.exit_code() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_outlives_ctrl_c_and_ends_with_its_pipe(config: RestoreConfig) -> None:
    """A terminal's signals reach the whole group, and the daemon drains; a daemon that is gone closes the pipe."""
    with served(config) as child:
        child.answer()
        assert child.process.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child.process.pid, number)
        shared = lay_out(child.pool, ResultMaps.of(Engine(config.networks[0].model, config).card, config), [stack(0)])
        child.send(child.work(shared, stack(0), whole("stored")))
        child.done()
        child.pipe.close()
        assert child.exit_code() == 0
