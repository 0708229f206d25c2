"""The way over a device, walked with the CPU as the device: the same numbers, in turns, whatever fails."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_live.backends.device import DeviceBuffers, DeviceSession, HostResults, Inputs, run_each
from care_live.backends.session import OnnxSession, Options
from care_live.config import RestoreConfig
from care_live.errors import OutOfMemoryError, RestoreError
from care_live.model.file import read_card
from care_live.percentiles import Span
from care_live.restore import select
from care_live.restore.engine import Engine
from care_live.restore.tiled import Network, OpenSession
from tests.make.networks import noisy, save_network, volume

SHAPE = (1, 1, 8, 16, 16)
SHAPES = {"raw": SHAPE, "low": (1,), "high": (1,)}
ONE = Options(threads=1)
N = 7


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return save_network(tmp_path / "net.onnx").read_bytes()


@pytest.fixture
def session(content: bytes) -> DeviceSession:
    return DeviceSession(content, SHAPES, ONE)


def feeds(seed: int) -> dict[str, np.ndarray]:
    return {"raw": noisy(SHAPE[2:], seed)[None, None], "low": np.float32([100]), "high": np.float32([300])}


def copied(results: HostResults) -> list[np.ndarray]:
    return [result.copy() for result in results]


@pytest.fixture
def wanted(content: bytes) -> list[list[np.ndarray]]:
    """Of inputs 0 to N - 1, one after the other, on the host."""
    plain = OnnxSession(content, SHAPES, ONE)
    return [copied(plain.run(feeds(seed))) for seed in range(N)]


def same(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> bool:
    return all((first == second).all() for first, second in zip(got, want, strict=True))


def test_it_gives_what_the_host_gives_wherever_the_results_go(
    session: DeviceSession, wanted: list[list[np.ndarray]]
) -> None:
    assert same(session.run(feeds(2)), wanted[2])
    into = [np.zeros(SHAPE, np.float32) for _ in session.outputs]
    assert session.run(feeds(3), into)[0] is into[0]
    assert same(into, wanted[3])
    wide = [np.zeros((*SHAPE[:-1], 32), np.float64)[..., ::2] for _ in session.outputs]
    session.run(feeds(4), wide)
    assert same([array.astype(np.float32) for array in wide], wanted[4])


def test_inputs_may_be_cut_from_a_field_and_of_another_type(
    session: DeviceSession, wanted: list[list[np.ndarray]]
) -> None:
    field = np.zeros((1, 1, 8, 16, 40), np.float32)
    field[..., 5:21] = feeds(5)["raw"]
    assert same(session.run(feeds(5) | {"raw": field[..., 5:21]}), wanted[5])


def test_another_shape_is_refused_and_never_stretched(session: DeviceSession) -> None:
    with pytest.raises(RestoreError, match=r"raw is \(1, 1, 1, 16, 16\)"):
        session.run(feeds(0) | {"raw": np.zeros((1, 1, 1, 16, 16), np.uint16)})


@pytest.mark.parametrize("n", [0, 1, 2, 3, N])
def test_runs_in_turns_give_what_runs_one_by_one_give(
    session: DeviceSession, wanted: list[list[np.ndarray]], n: int
) -> None:
    got: list[list[np.ndarray]] = []
    run_each(session, n, feeds, lambda i, results: got.append(copied(results)))
    assert len(got) == n
    assert all(same(first, second) for first, second in zip(got, wanted, strict=False))


def test_a_place_is_emptied_before_it_is_filled_by_a_thread_that_ends(session: DeviceSession) -> None:
    calls: list[tuple[str, int]] = []
    threads: list[threading.Thread] = []

    def feed(i: int) -> Inputs:
        calls.append(("feed", i))
        threads.append(threading.current_thread())
        return feeds(i)

    run_each(session, 4, feed, lambda i, _: calls.append(("take", i)))
    expected = ["feed 0", "feed 1", "take 0", "feed 2", "take 1", "feed 3", "take 2", "take 3"]
    assert [f"{what} {i}" for what, i in calls] == expected
    assert {thread.name for thread in threads} == {"copies_0"}
    assert not any(thread.is_alive() for thread in threads)


def test_every_turn_counts_as_a_run_that_is_watched(content: bytes) -> None:
    watched = threading.Lock()  # as a context: held while something runs
    session = DeviceSession(content, SHAPES, Options(threads=1, running=lambda: watched))
    held: list[bool] = []
    run_each(
        session, 3, lambda i: held.append(watched.locked()) or feeds(i), lambda i, _: held.append(watched.locked())
    )
    assert held == [True] * 5 + [False]  # the last results are taken when nothing runs any more


@pytest.mark.parametrize("what", ["feed", "take"])
@pytest.mark.parametrize("error", [ValueError("torn"), MemoryError()], ids=["fault", "memory"])
def test_an_error_of_the_copies_ends_it_in_our_words(session: DeviceSession, what: str, error: Exception) -> None:
    taken: list[int] = []

    def feed(i: int) -> Inputs:
        if what == "feed" and i == 3:
            raise error
        return feeds(i)

    def take(i: int, _: HostResults) -> None:
        if what == "take" and i == 2:
            raise error
        taken.append(i)

    with pytest.raises(OutOfMemoryError if isinstance(error, MemoryError) else RestoreError):
        run_each(session, N, feed, take)
    assert taken == [0, 1]
    got: list[list[np.ndarray]] = []
    run_each(session, 2, feeds, lambda i, results: got.append(copied(results)))  # it is as good as new
    assert len(got) == 2


def test_an_error_of_a_run_ends_it_too(session: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    plain = DeviceBuffers.run

    def failing(place: DeviceBuffers) -> None:
        runs.append(len(runs))
        if len(runs) == 3:
            raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")
        plain(place)

    session.places(2)
    monkeypatch.setattr(DeviceBuffers, "run", failing)
    taken: list[int] = []
    with pytest.raises(OutOfMemoryError):
        run_each(session, N, feeds, lambda i, _: taken.append(i))
    assert taken == [0, 1]


def predicted(
    path: Path, pixels: np.ndarray, opener: OpenSession, *, tile_px: tuple[int, ...]
) -> tuple[list[np.ndarray], Network]:
    network = Network(path, read_card(path), ONE, open_session=opener)
    outs = [np.empty(pixels.shape, np.float32) for _ in range(2)]
    network.predict(pixels, [Span(100, 300)], outs, tile_px=tile_px)
    return outs, network


def test_tiles_in_turns_give_the_same_field(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    pixels = noisy((8, 70, 90))[None, None]
    plain, _ = predicted(path, pixels, OnnxSession, tile_px=(8, 32, 32))
    turns, network = predicted(path, pixels, DeviceSession, tile_px=(8, 32, 32))
    assert same(turns, plain)
    assert not network.degraded


class Cramped:
    """Makes real sessions whose copies fail for tiles above a size, as memory does."""

    def __init__(self, most_px: int) -> None:
        self.most_px = most_px
        self.made: list[weakref.ref[DeviceSession]] = []
        self.alive: list[int] = []

    def __call__(self, content: bytes, shapes: Mapping[str, Sequence[int]], options: Options) -> DeviceSession:
        self.alive.append(sum(made() is not None for made in self.made))
        session = DeviceSession(content, shapes, options)
        self.made.append(weakref.ref(session))
        if np.prod(shapes["raw"]) > self.most_px:
            session.places(2)[1].load = self._fail  # type: ignore[method-assign]
        return session

    @staticmethod
    def _fail(inputs: Inputs) -> None:
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);")


def test_memory_that_runs_out_beside_a_run_shrinks_the_tiles_and_gives_the_old_ones_back(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    pixels = noisy((8, 70, 90))[None, None]
    plain, _ = predicted(path, pixels, OnnxSession, tile_px=(8, 64, 64))
    device = Cramped(8 * 40 * 40)
    gc.disable()  # what is not given back at once is memory that the smaller tiles lack
    try:
        shrunk, network = predicted(path, pixels, device, tile_px=(8, 64, 64))
    finally:
        gc.enable()
    assert network.degraded
    assert len(device.alive) > 1
    assert set(device.alive) == {0}
    assert same(shrunk, plain)


@pytest.mark.parametrize("tile_px", [None, (8, 32, 32)])
def test_a_whole_engine_restores_the_same_over_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile_px: tuple[int, int, int] | None
) -> None:
    path, stack = save_network(tmp_path / "net.onnx"), volume(noisy((8, 60, 70)))
    config = RestoreConfig(provider="cpu", threads=1, tile_px=tile_px, streaming="off")
    (plain,) = Engine(path, config).restore([stack])
    monkeypatch.setattr(select, "opener", lambda _: DeviceSession)
    (over,) = Engine(path, config).restore([stack])
    span = plain.high - plain.low
    assert np.abs(over.mean - plain.mean).max() < 1e-5 * span
    assert "laplace_scale" in over.maps
    assert "laplace_scale" in plain.maps
    assert np.abs(over.maps["laplace_scale"] - plain.maps["laplace_scale"]).max() < 1e-5 * span
    assert over.flags == plain.flags


def test_turns_that_mix_up_their_tiles_are_seen_at_the_start_and_not_used(
    content: bytes, wanted: list[list[np.ndarray]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a device whose copies do not wait: what is loaded arrives a run too late."""
    plain, late = DeviceBuffers.load, dict[DeviceBuffers, Inputs]()

    def lagging(place: DeviceBuffers, inputs: Inputs) -> None:
        plain(place, late.get(place, inputs) if threading.current_thread().name.startswith("copies") else inputs)
        late[place] = {name: array.copy() for name, array in inputs.items()}

    monkeypatch.setattr(DeviceBuffers, "load", lagging)
    session = DeviceSession(content, SHAPES, ONE)
    assert len(session.places(2)) == 1
    assert "copies_beside_runs=no" in caplog.text
    got: list[list[np.ndarray]] = []
    run_each(session, 3, feeds, lambda i, results: got.append(copied(results)))
    assert all(same(first, second) for first, second in zip(got, wanted, strict=False))


def test_no_memory_for_a_second_place_is_no_reason_for_smaller_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, plain = save_network(tmp_path / "net.onnx"), DeviceBuffers.__init__

    def cramped(place: DeviceBuffers, *given: Any, n_runs: int) -> None:
        if n_runs == 1:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 4096")
        plain(place, *given, n_runs=n_runs)

    pixels = noisy((8, 70, 90))[None, None]
    wanted, _ = predicted(path, pixels, OnnxSession, tile_px=(8, 32, 32))
    monkeypatch.setattr(DeviceBuffers, "__init__", cramped)
    got, network = predicted(path, pixels, DeviceSession, tile_px=(8, 32, 32))
    assert same(got, wanted)
    assert not network.degraded
    assert "copies_beside_runs=no" in caplog.text


def test_a_recorded_graph_knows_one_place(content: bytes) -> None:
    recorded = Options(threads=1, cuda={"enable_cuda_graph": "1"})
    assert len(DeviceSession(content, SHAPES, recorded).places(2)) == 1
    assert len(DeviceSession(content, SHAPES, Options(threads=1, places=1)).places(2)) == 1
