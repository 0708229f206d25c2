"""Which channels are restored: by name, and a run in which one passes through."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from care_live.config import ChannelNetwork, Config, parse
from care_live.daemon import run as daemon_run
from care_live.errors import ConfigError
from care_live.images import VolumeKey
from care_live.model.card import ModelCard
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup, NetworkWish, choose
from care_live.store import RunReader
from tests.make import runs
from tests.make.scripted import Scripted, frames, plan, started
from tests.viewer.test_recorder import Recordings, assert_same, connected

RUN = ("Brightfield", "GFP", "RFP")


def card(*names: str, outputs: tuple[str, ...] = ()) -> ModelCard:
    """Return the card of a network that reads channels of these names together."""
    n = len(names)
    return ModelCard(
        name="net", divisor=(1, 4, 4), halo_px=(2, 8, 8), channels_in=names, channels_out=outputs or names[: max(n, 1)]
    )


def groups(*groups: ChannelGroup) -> ChannelChoice:
    return ChannelChoice(groups, None)


@pytest.mark.parametrize(
    ("asked", "of_network", "choice"),
    [
        ((), ("any",), ChannelChoice()),
        (("GFP",), ("any",), groups(ChannelGroup(0, (1,)))),
        (("RFP", "GFP"), ("any",), groups(ChannelGroup(0, (2,)), ChannelGroup(0, (1,)))),
        ((), ("a", "b"), groups(ChannelGroup(0, (0, 1)))),
        ((), ("RFP", "GFP"), groups(ChannelGroup(0, (2, 1)))),
        (("GFP", "Brightfield"), ("a", "b"), groups(ChannelGroup(0, (1, 0)))),
    ],
)
def test_channels_are_found_by_name(asked: tuple[str, ...], of_network: tuple[str, ...], choice: ChannelChoice) -> None:
    assert choose([NetworkWish(card(*of_network), asked)], RUN) == (choice, ())


@pytest.mark.parametrize(
    ("asked", "of_network"), [(("gfp",), ("any",)), (("GFP",), ("a", "b")), (("x", "y"), ("a", "b"))]
)
def test_a_wrong_name_restores_nothing_and_is_said(asked: tuple[str, ...], of_network: tuple[str, ...]) -> None:
    choice, wrong = choose([NetworkWish(card(*of_network), asked)], RUN)
    assert not any(choice.takes(VolumeKey(0, 0, c)) for c in range(len(RUN)))
    assert len(wrong) == 1


def test_each_channel_goes_to_its_network() -> None:
    joint, single = NetworkWish(card("a", "b"), ("RFP", "Brightfield")), NetworkWish(card("any"), ("GFP",))
    choice, wrong = choose([joint, single], RUN)
    assert (choice, wrong) == (groups(ChannelGroup(0, (2, 0)), ChannelGroup(1, (1,))), ())
    assert choice.keys(VolumeKey(4, 1, 0)) == (VolumeKey(4, 1, 2), VolumeKey(4, 1, 0)), "in the network's order"
    assert choice.keys(VolumeKey(4, 1, 1)) == (VolumeKey(4, 1, 1),)
    assert (choice.made_by(0, 2), choice.made_by(1, 1)) == ((0, 2), (1,))


def test_a_wrong_name_costs_its_own_network_alone() -> None:
    choice, wrong = choose([NetworkWish(card("any"), ("DAPI",)), NetworkWish(card("any"), ("RFP",))], RUN)
    assert len(wrong) == 1
    assert [choice.takes(VolumeKey(0, 0, c)) for c in range(len(RUN))] == [False, False, True]


def test_results_that_mix_channels_keep_clear_of_the_other_channels() -> None:
    merged = NetworkWish(card("a", "b", outputs=("sum",)), ("GFP", "RFP"))
    unmixed = NetworkWish(card("any", outputs=("one", "two")), ("Brightfield",))
    choice, _ = choose([merged, unmixed], RUN)
    assert (choice.made_by(0, 1), choice.made_by(1, 2)) == ((1,), (0, 3))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"channel": [{"name": "GFP"}, {"name": ["RFP", "GFP"]}]}, "twice"),
        ({"channel": [{"name": "GFP"}], "channels": ["GFP"]}, "both"),
        ({"channel": [{"name": "GFP", "model": "none"}]}, "passes through"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse({"restore": settings}, origin="test")


def test_a_swap_changes_the_network_of_its_channels_alone() -> None:
    entries = [{"name": "BF", "model": "none"}, {"name": "GFP"}, {"name": "RFP", "model": "r.onnx"}]
    restore = parse({"restore": {"model": "g.onnx", "channel": entries}}, origin="test").restore
    assert restore.networks == (
        ChannelNetwork(Path("g.onnx"), ("GFP",)),
        ChannelNetwork(Path("r.onnx"), ("RFP",)),
    )
    changed = restore.with_network(0, Path("new.onnx"))
    assert changed.networks == (ChannelNetwork(Path("new.onnx"), ("GFP",)), restore.networks[1])
    pinned = restore.with_providers(["cpu", "openvino"])
    assert [one.provider for one in pinned.networks] == ["cpu", "openvino"]
    assert [one.channels for one in pinned.networks] == [("GFP",), ("RFP",)]


def movie(path: Path) -> np.ndarray:
    pixels = np.random.default_rng(1).poisson(200, (3, 4, 2, 24, 32)).astype(np.uint16)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "TZCYX", "Channel": {"Name": ["Brightfield", "GFP"]}})
    return pixels


def replayed(folder: Path, *restored: str) -> Config:
    source = runs.replay(folder / "movie.ome.tif") | {"axes": None}
    return runs.config(folder, source, restore={"channels": list(restored)})


@pytest.mark.slow
def test_brightfield_passes_through(tmp_path: Path) -> None:
    pixels = movie(tmp_path / "movie.ome.tif")
    config = replayed(tmp_path, "GFP")
    recording: list[Recordings] = []
    status = runs.run(config, meanwhile=lambda _: recording.append(connected(config, tmp_path / "copy")))
    recording[0].join(100)
    run = RunReader(tmp_path / "runs" / "test")
    assert run.keys("raw") == [VolumeKey(t, 0, c) for t in range(3) for c in range(2)]
    assert run.keys("restored") == [VolumeKey(t, 0, 1) for t in range(3)]
    assert np.array_equal(run.read("raw", VolumeKey(1, 0, 0)), pixels[1, :, 0])
    assert (status.restored, status.shortfalls) == (3, ())
    assert recording[0].result.gaps == [], "watchers get it, too, raw"
    assert_same(tmp_path / "copy" / "test", run.path)


@pytest.mark.slow
def test_a_name_that_only_the_run_lacks_costs_no_raw_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tap says its channels when its acquisition has begun."""
    keys = [VolumeKey(0, 0, c) for c in range(2)]
    script = itertools.chain([started(plan(keys))], *map(frames, keys))
    monkeypatch.setattr(daemon_run, "open_remaining", lambda *_: Scripted(script))
    status = runs.run(runs.config(tmp_path, {"kind": "remote"}, restore={"channels": ["DAPI"]}))
    run = RunReader(tmp_path / "runs" / "test")
    assert (run.keys("raw"), run.keys("restored")) == (keys, [])
    assert "channel-0, channel-1" in status.shortfalls[0]


@pytest.mark.slow
def test_a_recording_that_lacks_a_name_is_not_replayed(tmp_path: Path) -> None:
    movie(tmp_path / "movie.ome.tif")
    with pytest.raises(ConfigError, match="shall restore DAPI, but the channels are Brightfield, GFP"):
        runs.run(replayed(tmp_path, "DAPI"))
    assert not (tmp_path / "runs" / "test").exists()
