"""ndv on a run and on a daemon: in a real window under a virtual display where ndv is installed."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import numpy as np
import pytest

ndv = pytest.importorskip("ndv", reason="no ndv here: pip install 'care-live[ndv]'")

from care_live.config import PublishConfig, StoreConfig  # noqa: E402
from care_live.errors import SourceError, StoreError  # noqa: E402
from care_live.images import NetworkInUse, RunStarted, VolumeKey  # noqa: E402
from care_live.publish.publisher import Publisher  # noqa: E402
from care_live.store import open_run  # noqa: E402
from care_live.viewer import ndv_data  # noqa: E402
from tests.make.scenes import STARTED, restored  # noqa: E402
from tests.make.stored import make_plan, make_restored, make_volume  # noqa: E402
from tests.make.waiting import until  # noqa: E402


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list:
    """What a window would call later."""
    calls: list = []
    monkeypatch.setattr(ndv, "call_later", lambda _, call: calls.append(call))
    return calls


def test_a_run_that_is_still_written_grows(tmp_path: Path, later: list) -> None:
    raw = [make_volume(VolumeKey(t)) for t in range(2)]
    with contextlib.closing(open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan()))) as writer:
        with pytest.raises(SourceError, match="no restored volume at position 0 yet"):
            ndv_data.of_run(writer.path)
        for volume in raw:
            writer.write_raw(volume)
        writer.write_restored(make_restored(raw[0]))
        data, signals = ndv_data.of_run(writer.path), []
        data.dims_changed.connect(lambda: signals.append("dims"))
        data.data_changed.connect(lambda: signals.append("data"))
        later.pop()()
        assert (data.sizes()["t"], signals) == (1, [])
        writer.write_restored(make_restored(raw[1]))
        later.pop()()
        assert (data.sizes()["t"], signals) == (2, ["dims", "data"])
        shown = data.isel({0: slice(1, 2), 1: slice(0, 1), 2: slice(1, 2)})
        np.testing.assert_allclose(shown[0, 0, 0], make_restored(raw[1]).mean[1], rtol=1e-3)
        writer.complete()
    with pytest.raises(StoreError, match="no 'restord'"):
        ndv_data.of_run(writer.path, "restord")


def test_ndv_finds_it_for_the_array_of_a_run(tmp_path: Path) -> None:
    with contextlib.closing(open_run(StoreConfig(directory=tmp_path), RunStarted("run", make_plan(n_c=2)))) as writer:
        for c in range(2):
            writer.write_raw(make_volume(VolumeKey(0, 0, c)))
        data = ndv.DataWrapper.create(ndv_data.RunReader(writer.path).array("raw"))
    assert isinstance(data, ndv_data.RunData)
    assert data.guess_channel_axis() == 1
    assert all(isinstance(one, range) for one in data.coords.values()), "sliders in Jupyter take no names"
    assert data.channel_names(1) == dict(enumerate(make_plan(n_c=2).channels))
    assert data.axis_scales() == dict(zip("zyx", make_volume().voxel_size_um, strict=True))


def test_the_newest_volume_of_a_daemon_is_shown(later: list) -> None:
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")) as publisher:
        publisher.start(STARTED, NetworkInUse(restored(0).model, {}))
        with pytest.raises(SourceError, match="no mean volume of position 0 came"):
            ndv_data.of_daemon(publisher.address_pull, wait_s=0.0)
        publisher.publish(restored(0))
        data, signals = ndv_data.of_daemon(publisher.address_pull), []
        try:
            data.data_changed.connect(lambda: signals.append("data"))
            assert data.channel_names(0) == dict(enumerate(STARTED.plan.channels))
            assert all(isinstance(one, range) for one in data.coords.values())
            np.testing.assert_array_equal(data.isel({0: slice(0, 1), 1: slice(2, 3)})[0, 0], restored(0).mean[2])
            publisher.publish(restored(1))
            until(lambda: later.pop()() or signals)
            assert signals == ["data"]
            np.testing.assert_array_equal(data.isel({0: 0, 1: 2}), restored(1).mean[2])
            np.testing.assert_array_equal(data.isel({})[0], restored(1).mean)
        finally:
            data.close()
        later.pop()()
        assert not later


def test_the_link_ends_with_the_last_viewer(later: list, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list = []
    close = ndv_data.Subscriber.close
    monkeypatch.setattr(ndv_data.Subscriber, "close", lambda link: closed.append(close(link)))
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*")) as publisher:
        publisher.start(STARTED, NetworkInUse(restored(0).model, {}))
        publisher.publish(restored(0))
        data = ndv_data.of_daemon(publisher.address_pull)
        later.pop()()
        assert (len(later), len(closed)) == (1, 0)
        del data
        gc.collect()
        later.pop()()
    assert (len(later), len(closed)) == (0, 1)
