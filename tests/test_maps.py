"""A map needs a row in the table and nothing else: one that no code names comes from the network to every screen."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from onnx import TensorProto

from care_live.config import RestoreConfig, StoreConfig
from care_live.images import NetworkInUse, Restored
from care_live.maps import HEADS, MAPS, Head, folder_of
from care_live.model.card import ModelCard
from care_live.publish import Publisher, Subscriber
from care_live.store import RunReader
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.live_feed import LiveFeed
from care_live.viewer.napari.preparer import Drawing, Preparer
from care_live.viewer.recorded_run import RecordingReport
from care_live.viewer.recorder import Recorder
from care_live.viewer.view_records import ViewedVolume
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web import picture
from care_live.viewer.web.fineness import Fineness
from care_live.viewer.web.requests import PageView, ViewMode
from care_live.wire import arrays
from care_live.worker.client import RestoreProcess
from tests.make import samples
from tests.make.networks import Graph, noisy, save_graph
from tests.make.waiting import until

FOURTH: Head = "evidence"
EXACT = Fineness(lossy=False, level=0)
PACKAGE = Path(arrays.__file__).parents[1]


def test_every_head_has_a_row_and_no_other() -> None:
    assert set(HEADS) == set(get_args(Head))


def test_no_code_of_the_way_names_the_fourth_map() -> None:
    """The rooms between network and screen read the table. (What calculates the map, names it.)"""
    rooms = ("worker", "publish", "wire", "store", "viewer/*.py", "viewer/napari", "viewer/web")
    for room in rooms:
        for path in PACKAGE.glob(room if "*" in room else f"{room}/*.py"):
            assert f'"{FOURTH}"' not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("head", HEADS)
def test_a_quantised_map_is_within_a_step_of_its_kind(head: Head) -> None:
    kind = MAPS[head]
    sent = np.linspace(-4 if kind.may_be_negative else 0.05, 9, 96, dtype=np.float32).reshape(4, 4, 6)
    header, buffer = arrays.encode(head, sent, voxel_size_um=(1, 1, 1), quantised=True)
    came = arrays.values(header, arrays.decode(header, buffer))
    allowed = 0.026 * sent if kind.coding == "log2" else np.full_like(sent, 0.51 * header.step)
    assert (np.abs(came - sent) <= allowed).all()
    assert header.unit == kind.unit


def network_of_four(path: Path) -> Path:
    """Write a network that says of each voxel how far it lies above or below 200 counts."""
    graph = Graph(3, seed=1)
    counts = graph.add("Cast", "raw", to=TensorProto.FLOAT)
    graph.add("Identity", counts, output="mean")
    apart = graph.add("Sub", counts, graph.constant(200.0))
    graph.add("Div", apart, graph.constant(20.0), output=FOURTH)
    return save_graph(path, graph, ModelCard(name="four", divisor=(1,) * 3, halo_px=(0,) * 3, heads=("mean", FOURTH)))


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """What the inference process gives."""
    path = network_of_four(tmp_path_factory.mktemp("network") / "four.onnx")
    process = RestoreProcess(RestoreConfig(model=path, provider="cpu", threads=1))
    process.start()
    try:
        raw = msgspec.structs.replace(samples.volume(0), pixels=noisy(samples.SHAPE))
        (restored,) = process.restore([raw])
        return msgspec.structs.replace(restored, maps={head: array.copy() for head, array in restored.maps.items()})
    finally:
        process.stop()


@pytest.fixture(scope="module")
def watched(sent: Restored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ViewedVolume, Path]]:
    """What a viewer got of it by cl1, and the run that a recorder wrote."""
    folder, stopping, reports = tmp_path_factory.mktemp("runs"), threading.Event(), list[RecordingReport]()
    cache = LiveCache()

    def record(address: str) -> None:
        with Subscriber(address, mode="every") as subscriber:
            recorder = Recorder(subscriber, StoreConfig(directory=folder, restored_mantissa_bits=23))
            reports.append(recorder.recording)
            recorder.record(stopping, lambda _: None)

    with Publisher(samples.config()) as publisher:
        publisher.start(samples.started(1), NetworkInUse(sent.model, {}))
        recording = threading.Thread(target=record, args=(publisher.address_pull,))
        feed = LiveFeed(publisher.address_pull, cache)
        recording.start()
        try:
            publisher.publish(sent)
            until(lambda: cache.get(sent.key) is not None)
            until(lambda: reports and reports[0].n_restored == 1)
        finally:
            stopping.set()
            recording.join(60)
            feed.close()
    shown = cache.get(sent.key)
    assert shown is not None
    yield shown, folder / "run-1"


def test_the_inference_process_gives_the_fourth_map(sent: Restored) -> None:
    np.testing.assert_allclose(sent.maps[FOURTH], (sent.volume.pixels.astype(np.float32) - 200) / 20, rtol=1e-6)
    assert sent.maps[FOURTH].min() < 0 < sent.maps[FOURTH].max()


def test_a_watcher_gets_it_by_cl1(sent: Restored, watched: tuple[ViewedVolume, Path]) -> None:
    np.testing.assert_array_equal(watched[0].maps[FOURTH], sent.maps[FOURTH])


def test_a_recorder_stores_it_and_the_history_shows_it(sent: Restored, watched: tuple[ViewedVolume, Path]) -> None:
    stored = RunReader(watched[1]).read(folder_of(FOURTH), sent.key)
    np.testing.assert_array_equal(stored, sent.maps[FOURTH])
    shown = History(watched[1]).get(sent.key)
    assert shown is not None
    np.testing.assert_array_equal(shown.maps[FOURTH], sent.maps[FOURTH])


@pytest.mark.parametrize("mode", ["slice", "volume"])
def test_the_page_gets_codes_on_both_sides_of_0(watched: tuple[ViewedVolume, Path], mode: ViewMode) -> None:
    view = PageView(mode=mode, z=1)
    header, buffers = picture.unpack(picture.Pictures().encode((watched[0],), view, EXACT))
    (at,) = (i for i, array in enumerate(header["arrays"]) if array["product"] == FOURTH)
    array = header["arrays"][at]
    codes = np.frombuffer(buffers[at], array["dtype"]).reshape(array["shape"])
    wanted = watched[0].maps[FOURTH][1] if mode == "slice" else watched[0].maps[FOURTH]
    limit = MAPS[FOURTH].limit
    assert limit is not None and array["dtype"] == "uint8"
    assert (array["label"], array["limits"]) == (MAPS[FOURTH].label, [-limit, limit])
    came = array["offset"] + array["step"] * codes.astype(np.float64)
    assert np.abs(came - np.clip(wanted, -limit, limit)).max() <= 0.51 * array["step"]


def test_a_voxel_is_read_with_it(watched: tuple[ViewedVolume, Path]) -> None:
    (voxel,) = picture.probe((watched[0],), (1, 2, 3), [1.0])
    assert voxel["others"] == {MAPS[FOURTH].label: pytest.approx(watched[0].maps[FOURTH][1, 2, 3])}


def test_napari_gets_a_layer_between_its_limits(watched: tuple[ViewedVolume, Path]) -> None:
    cache = LiveCache()
    preparer = Preparer(VolumeIndex(cache), lambda: None)
    try:
        cache.put(watched[0])
        until(lambda: preparer.waiting is not None)
        prepared = preparer.take()
    finally:
        preparer.close()
    assert prepared is not None
    drawn: dict[str, Drawing] = {drawing.what: drawing for drawing in prepared.drawings}
    assert drawn[FOURTH].window == MAPS[FOURTH].limits
    np.testing.assert_array_equal(drawn[FOURTH].pixels, watched[0].maps[FOURTH])


def test_the_specifications_name_every_map() -> None:
    for page in ("wire/cl1.md", "store/layout.md"):
        text = (PACKAGE / page).read_text(encoding="utf-8")
        for head in HEADS:
            assert re.search(rf"\b({head}|{folder_of(head)})\b", text), f"{page} does not name {head}"
