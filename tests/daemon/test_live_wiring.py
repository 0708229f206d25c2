"""What shows Live of a source: nothing where it has none, an average without a network, and a network by channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_live.config import Config
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.live_show import LiveShow
from care_live.daemon.live_wiring import live_show
from care_live.daemon.run_metrics import Tally
from care_live.errors import SourceError
from care_live.images import VolumeKey, read_only
from care_live.live_frame import LatestFrame, LiveConditions, LiveFrame
from care_live.publish.delivery import Delivery
from care_live.publish.publisher import Publisher
from care_live.publish.subscriber import Subscriber
from care_live.worker.client import RestoreProcess
from tests.make import samples
from tests.make.networks import save_network
from tests.make.scripted import Scripted
from tests.make.waiting import until


class WithLive(Scripted):
    """A source that has Live."""

    def __init__(self) -> None:
        super().__init__(iter(()))
        self.live = LatestFrame()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(samples.config()) as opened:
        yield opened


def wired(source: Any, publisher: Publisher, folder: Path, **sections: Any) -> LiveShow | None:
    config = Config.model_validate({"store": {"directory": folder}} | sections)
    restorer = RestoreProcess(config.restore)  # not started: what needs it fails
    return live_show(config, source, restorer, publisher=publisher, publishing=Bulkhead("x", "y", Tally()))


def first_shown(show: LiveShow, source: WithLive, publisher: Publisher, conditions: LiveConditions) -> Delivery:
    pixels, came = read_only(np.full((16, 24), 200, np.uint16)), list[Delivery]()
    with Subscriber(publisher.address_pull) as watcher, show.shown():
        until(lambda: source.live.is_wanted, 90)
        source.live.put(LiveFrame(pixels, 1, 0, conditions))
        until(lambda: isinstance(message := watcher.next(1.0), Delivery) and not came.append(message), 90)
    return came[0]


def test_a_source_without_live_shows_none(publisher: Publisher, tmp_path: Path) -> None:
    assert wired(Scripted(iter(())), publisher, tmp_path) is None


def test_an_average_needs_no_network(publisher: Publisher, tmp_path: Path) -> None:
    source = WithLive()
    show = wired(source, publisher, tmp_path, live={"restoration": "average", "average_frames": 5})
    assert show is not None
    came = first_shown(show, source, publisher, LiveConditions())
    assert came.model is not None and came.model.name == "running average of 5"
    assert (show.n_restored, show.n_raw) == (1, 0)


def test_a_channel_that_no_network_restores_is_shown_as_it_came(publisher: Publisher, tmp_path: Path) -> None:
    model = save_network(tmp_path / "net.onnx", filters=2)
    named = {"channel": [{"name": "GFP", "model": str(model)}]}
    source = WithLive()
    show = wired(source, publisher, tmp_path, restore=named)
    assert show is not None
    came = first_shown(show, source, publisher, LiveConditions(channel="DAPI"))
    assert came.model is None and came.raw is not None and (came.raw == 200).all()
    assert came.key == VolumeKey(1)


def test_live_is_shown_though_no_frame_of_it_is_kept(publisher: Publisher, tmp_path: Path) -> None:
    source = WithLive()
    show = wired(source, publisher, tmp_path, live={"restoration": "average", "keep_mib": 0})
    assert show is not None
    assert first_shown(show, source, publisher, LiveConditions()).key == VolumeKey(1)
    with pytest.raises(SourceError, match="no frame of Live"):
        show.recent.keep(60.0)
