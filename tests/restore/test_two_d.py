"""A 2D network restores planes as they come, and they are shown at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

import care_live
from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import RestoreError
from care_live.images import VolumeKey
from care_live.model.file import read_card
from care_live.percentiles import Span
from care_live.publish.delivery import Delivery
from care_live.reasons import streamed
from care_live.restore import two_d
from care_live.restore.engine import Engine
from care_live.restore.repair import Maps
from care_live.restore.select import open_network
from care_live.store import RunReader
from care_live.worker.client import RestoreProcess
from tests.make.inference import planes_of
from tests.make.networks import noisy, save_network, volume
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started

SPAN = Span(100.0, 300.0)
FIXED = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
CPU = RestoreConfig(provider="cpu", threads=1, normalise=FIXED)


def begun(
    path: Path, shape: tuple[int, int, int], tile_px: tuple[int, int, int] | None = None
) -> tuple[two_d.FlatStream, Maps]:
    card = read_card(path)
    assert two_d.fits(card)
    network, _ = open_network(path, card, CPU)
    into: Maps = {head: np.full((len(card.channels_out), *shape), np.nan, np.float32) for head in card.heads}
    pipeline = two_d.PlaneByPlane(card, network, shape, tile_px=tile_px)
    return pipeline.begin([SPAN] * len(card.channels_in), into), into


@pytest.mark.parametrize(("c_in", "tile_px"), [(1, None), (2, None), (1, (1, 32, 32))], ids=["one", "two", "tiled"])
def test_planes_in_any_order_give_the_volume_bit_by_bit(
    tmp_path: Path, c_in: int, tile_px: tuple[int, int, int] | None
) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=2, c_in=c_in)
    raw = np.stack([noisy((5, 41, 50), seed=c) for c in range(c_in)])
    stream, into = begun(path, (5, 41, 50), tile_px)
    n_restored = []
    for z in (1, 0, 4, 2, 3):
        for c in range(c_in):
            stream.place(c, z, raw[c, z])
        n_restored.append(stream.n_restored)
    assert n_restored == [0, 2, 2, 3, 5]
    stream.finish()
    whole = Engine(path, CPU).restore([volume(raw[c], c=c) for c in range(c_in)])
    for c, wanted in enumerate(whole):
        assert (into["mean"][c] == wanted.mean).all()
        assert (into["laplace_scale"][c] == wanted.maps["laplace_scale"]).all()


def test_what_does_not_fit_is_refused_and_an_incomplete_stack_is_no_volume(tmp_path: Path) -> None:
    stream, _ = begun(save_network(tmp_path / "net.onnx", ndim=2), (3, 24, 24))
    stream.place(0, 1, noisy((24, 24)))
    for wrong in (noisy((24, 24)), noisy((12, 24))):
        with pytest.raises(RestoreError, match="does not fit"):
            stream.place(0, 1, wrong)
    with pytest.raises(RestoreError, match="3 planes ended after 1"):
        stream.finish()
    stream.abandon()


def test_other_tasks_of_2d_networks_wait_for_the_stack(tmp_path: Path) -> None:
    assert not two_d.fits(read_card(save_network(tmp_path / "iso.onnx", ndim=2, task="isotropic", factor=2.0)))


@pytest.mark.slow
def test_each_plane_is_shown_before_the_next_one_comes(tmp_path: Path) -> None:
    settings = CPU.model_copy(update={"model": save_network(tmp_path / "net.onnx", ndim=2)})
    process = RestoreProcess(settings)
    process.start()
    try:
        stack = volume(noisy((3, 22, 30)))
        opened, planes = planes_of(stack)
        process.arrivals.begin(opened)
        for z, placed in enumerate(planes[:-1]):
            process.arrivals.place(placed)
            deadline, shown = time.monotonic() + 60, []
            while not shown and time.monotonic() < deadline:
                shown = process.arrivals.restored_planes()
                time.sleep(0.01)
            assert [(one.z.start, len(one.maps["mean"]), one.n_planes) for one in shown] == [(z, 1, 3)]
        process.arrivals.place(planes[-1])
        (restored,) = process.restore([stack])
        assert process.choice.kind == "stream"
        (wanted,) = Engine(settings.model, settings).restore([stack])  # type: ignore[arg-type]
        assert (restored.mean == wanted.mean).all()
    finally:
        process.stop()


@pytest.mark.slow
def test_a_watcher_sees_planes_of_a_2d_network_while_the_daemon_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last plane of the second volume comes once the watcher has some of those before it."""
    save_network(tmp_path / "tiny.onnx", ndim=2)
    shape, slabs = (8, 48, 56), list[Delivery]()

    def watch() -> None:
        with care_live.subscribe(settings.publish.bind_pull, slabs=True) as subscriber:
            while not slabs and (received := subscriber.next(60)) is not None:
                is_there.set()
                if isinstance(received, Delivery) and not received.is_whole:
                    slabs.append(received)

    def script() -> Script:
        keys = [VolumeKey(0), VolumeKey(1)]
        yield started(plan(keys, shape))
        yield lambda: is_there.wait(60)
        for key in keys:
            yield from frames(key, 7, shape=shape)
            while key.t == 1 and not slabs:
                yield None
            yield from frames(key, shape=shape, first=7)
            while daemon.status().restored <= key.t:
                yield None

    daemon, settings = scripted_daemon(
        tmp_path, Scripted(script()), monkeypatch, restore={"normalise": FIXED.model_dump()}
    )
    watcher, is_there = threading.Thread(target=watch), threading.Event()
    status = daemon.run(on_start=lambda _: watcher.start())
    watcher.join(60)
    assert status.streaming == "streamed"
    (slab,) = slabs
    assert len(slab.mean) < 8
    reader = RunReader(tmp_path / "runs" / "test")
    assert reader.restoration(slab.key).choice == streamed("no-other-planes")
    stored = reader.read("restored", slab.key)
    np.testing.assert_allclose(slab.mean, stored[slab.restored.z], rtol=2**-10)
