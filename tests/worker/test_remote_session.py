"""A session of a remote worker: orders and planes in, results out, with a real process behind it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from care_live.config import RestoreConfig
from care_live.images import Volume, VolumeHead, VolumeKey
from care_live.percentiles import Span
from care_live.reasons import whole
from care_live.restore.engine import Engine
from care_live.restore.result_maps import ResultMaps
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.carried_files import carried
from care_live.worker.remote_protocol import Beat, FromWorker, Gone, MapPlanes, Order, RawPlanes, SessionStart
from care_live.worker.remote_protocol import WorkerAnswer as Answer
from care_live.worker.remote_session import RemoteSession
from care_live.worker.shared_memory import ArrayAddress, SegmentName
from tests.make.inference import settings
from tests.make.remote_links import FIXED, stack
from tests.make.waiting import until

pytestmark = pytest.mark.slow
NUMBER = 5
WAIT_S = 240.0


class Session:
    """A session, and what it has said."""

    def __init__(self, config: RestoreConfig, place: Path) -> None:
        bundle = carried(config)
        files, parts = tuple(bundle.files), [memoryview(one) for one in bundle.files.values()]
        self.own = RemoteSession(SessionStart(NUMBER, dict(bundle.settings), {}, files), parts, place)
        self.said: list[FromWorker] = []
        self.maps: dict[str, NDArray[np.float32]] = {}
        self.n_planes = 0
        """Of maps that have come."""

    def until(self, condition: Callable[[], object]) -> None:
        def look() -> object:
            for message, parts in self.own.news():
                assert message.session == NUMBER
                self.said.append(message)
                if isinstance(message, MapPlanes):
                    (planes,) = parts
                    self.n_planes += len(planes)
                    whole_map = self.maps.setdefault(message.head, np.zeros((64, *planes.shape[1:]), np.float32))
                    whole_map[message.z : message.z + len(planes)] = planes
            return condition() or self.gone is not None

        until(look, WAIT_S)

    def answer(self) -> protocol.InferenceAnswer:
        """Wait for the next answer."""
        n_before = len(self.answers)
        self.until(lambda: len(self.answers) > n_before)
        return self.answers[-1]

    @property
    def answers(self) -> list[protocol.InferenceAnswer]:
        return [one.answer for one in self.said if isinstance(one, Answer)]

    @property
    def gone(self) -> Gone | None:
        return next((one for one in self.said if isinstance(one, Gone)), None)


@pytest.fixture
def config(network: Path) -> RestoreConfig:
    return settings(network, normalise=FIXED, streaming="on", hang_s=60.0)


@pytest.fixture
def engine(config: RestoreConfig) -> Engine:
    return Engine(config.networks[0].model, config)


@pytest.fixture
def session(config: RestoreConfig, tmp_path: Path) -> Iterator[Session]:
    opened = Session(config, tmp_path)
    try:
        assert isinstance(opened.answer(), protocol.Ready)
        yield opened
    finally:
        opened.own.close()
    assert not list(tmp_path.iterdir()), "no file of the daemon is left behind"


def there(shape: tuple[int, ...], dtype: str) -> ArrayAddress:
    """Return where an array lies in the daemon's memory, which this machine does not see."""
    return ArrayAddress(SegmentName(0, "of the daemon", 1), 0, shape, dtype)


def places(volume: Volume, engine: Engine, config: RestoreConfig) -> dict[str, ArrayAddress]:
    shapes = ResultMaps.of(engine.card, config).shapes(volume.pixels.shape)
    return {head: there(shape, "<f4") for head, shape in shapes.items()}


def order(volume: Volume, engine: Engine, config: RestoreConfig, *, streamed: bool) -> Order:
    why = None if streamed else whole("stored")
    pixels = (there(volume.pixels.shape, "<u2"),)
    heads, results = (record_of(VolumeHead, volume),), places(volume, engine, config)
    return Order(NUMBER, protocol.Work(heads, pixels, results, {}, frozenset(), why))


def bytes_of(planes: NDArray[np.uint16]) -> memoryview:
    return memoryview(np.ascontiguousarray(planes)).cast("B")


def test_a_volume_is_restored_once_all_its_planes_have_come(
    session: Session, engine: Engine, config: RestoreConfig
) -> None:
    volume = stack(1)
    (expected,) = engine.restore([volume])
    session.own.take(order(volume, engine, config, streamed=False), ())
    session.own.take(RawPlanes(NUMBER, volume.key, 0, 2), [bytes_of(volume.pixels[2:])])
    assert session.own.is_busy
    n_before = len(session.said)
    session.until(lambda: sum(isinstance(one, Beat) for one in session.said[n_before:]) >= 3)
    assert len(session.answers) == 1, "planes lack"
    session.own.take(RawPlanes(NUMBER, volume.key, 0, 0), [bytes_of(volume.pixels[:2])])
    done = session.answer()
    assert isinstance(done, protocol.Done) and done.choice == whole("stored")
    assert isinstance(session.said[-1], Answer), "its planes went before"
    assert set(session.maps) == set(done.maps[0]) == set(expected.maps)
    for head, array in expected.maps.items():
        np.testing.assert_array_equal(session.maps[head][: len(array)], array)
    assert not session.own.is_busy


def test_planes_of_a_volume_that_is_recorded_are_sent_as_they_become_final(
    session: Session, engine: Engine, config: RestoreConfig
) -> None:
    volume, n = stack(2, (24, 24, 20)), 24
    pixels, results = (there(volume.pixels.shape, "<u2"),), places(volume, engine, config)
    spans = (Span(FIXED["low_counts"], FIXED["high_counts"]),)
    session.own.take(Order(NUMBER, protocol.Begin(volume.key, pixels, there((2,), "<i8"), results, spans, 1.0)), ())
    for z in range(n - 2):
        placed = protocol.PlanesPlaced(volume.key, ((0, z),))
        session.own.take(Order(NUMBER, placed), [bytes_of(volume.pixels[z])])
    session.until(lambda: [one for one in session.said if isinstance(one, Beat) and one.progress])
    session.until(lambda: session.n_planes)
    assert 0 < session.n_planes < n * len(engine.card.heads)
    session.own.take(order(volume, engine, config, streamed=True), ())
    session.own.take(RawPlanes(NUMBER, volume.key, 0, n - 2), [bytes_of(volume.pixels[n - 2 :])])
    done = session.answer()
    assert isinstance(done, protocol.Done) and done.choice.kind == "stream"
    (expected,) = engine.restore([volume])
    np.testing.assert_allclose(session.maps["mean"][:n], expected.mean, rtol=1e-3, atol=0.5)


def test_a_volume_that_the_daemon_gave_up_is_dropped(session: Session, engine: Engine, config: RestoreConfig) -> None:
    volume = stack(2)
    pixels, results = (there(volume.pixels.shape, "<u2"),), places(volume, engine, config)
    spans = (Span(90.0, 900.0),)
    session.own.take(Order(NUMBER, protocol.Begin(volume.key, pixels, there((2,), "<i8"), results, spans, 1.0)), ())
    assert session.own.is_busy
    session.own.take(Order(NUMBER, protocol.Abandon(volume.key, whole("overtaken"))), ())
    assert not session.own.is_busy
    late = protocol.PlanesPlaced(volume.key, ((0, 0),))
    session.own.take(Order(NUMBER, late), [bytes_of(volume.pixels[0])])
    following = stack(3)
    session.own.take(order(following, engine, config, streamed=False), ())
    session.own.take(RawPlanes(NUMBER, following.key, 0, 0), [bytes_of(following.pixels)])
    assert isinstance(session.answer(), protocol.Done)


def test_planes_of_no_order_end_the_session(session: Session) -> None:
    session.own.take(RawPlanes(NUMBER, VolumeKey(9), 0, 0), [memoryview(b"1234")])
    session.until(lambda: False)
    assert session.gone is not None
    assert session.gone.how.startswith("cannot go on: planes came that belong to no order")
    assert session.said[-1] is session.gone


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_process_that_died_is_said(session: Session) -> None:
    import psutil

    for child in psutil.Process().children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)
    session.until(lambda: False)
    assert session.gone is not None and session.gone.how.startswith("died")


def test_a_network_that_cannot_run_here_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    (tmp_path / "place").mkdir()
    session = Session(settings(tmp_path / "no.onnx"), tmp_path / "place")
    try:
        failed = session.answer()
        assert isinstance(failed, protocol.Failed)
        assert failed.kind == "ModelError" and "ONNX" in failed.message
    finally:
        session.own.close()
