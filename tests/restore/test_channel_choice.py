"""Which channels are restored: by name, and a run in which one passes through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.config import Config
from care_live.images import VolumeKey
from care_live.restore.channel_choice import ChannelChoice, choose
from care_live.store import RunReader
from tests.make import runs
from tests.viewer.test_recorder import Recordings, assert_same

RUN = ("Brightfield", "GFP", "RFP")


@pytest.mark.parametrize(
    ("asked", "of_network", "choice"),
    [
        ((), ("any",), ChannelChoice()),
        (("GFP",), ("any",), ChannelChoice(alone=frozenset({1}))),
        ((), ("a", "b"), ChannelChoice(together=(0, 1))),
        ((), ("RFP", "GFP"), ChannelChoice(together=(2, 1))),
        (("GFP", "Brightfield"), ("a", "b"), ChannelChoice(together=(1, 0))),
    ],
)
def test_channels_are_found_by_name(asked: tuple[str, ...], of_network: tuple[str, ...], choice: ChannelChoice) -> None:
    assert choose(asked, of_network, RUN) == (choice, "")


@pytest.mark.parametrize(
    ("asked", "of_network"), [(("gfp",), ("any",)), (("GFP",), ("a", "b")), (("x", "y"), ("a", "b"))]
)
def test_a_wrong_name_restores_nothing_and_is_said(asked: tuple[str, ...], of_network: tuple[str, ...]) -> None:
    choice, wrong = choose(asked, of_network, RUN)
    assert "only raw is kept" in wrong
    assert not any(choice.takes(VolumeKey(0, 0, c)) for c in range(len(RUN)))


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
    status = runs.run(
        config, meanwhile=lambda _: recording.append(Recordings(config.publish.bind_pull, tmp_path / "copy"))
    )
    recording[0].join(100)
    run = RunReader(tmp_path / "runs" / "test")
    assert run.keys("raw") == [VolumeKey(t, 0, c) for t in range(3) for c in range(2)]
    assert run.keys("restored") == [VolumeKey(t, 0, 1) for t in range(3)]
    assert np.array_equal(run.read("raw", VolumeKey(1, 0, 0)), pixels[1, :, 0])
    assert (status.restored, status.shortfalls) == (3, ())
    assert recording[0].result.gaps == [], "watchers get it, too, raw"
    assert_same(tmp_path / "copy" / "test", run.path)


@pytest.mark.slow
def test_a_name_that_the_run_lacks_costs_no_raw_volume(tmp_path: Path) -> None:
    movie(tmp_path / "movie.ome.tif")
    status = runs.run(replayed(tmp_path, "DAPI"))
    run = RunReader(tmp_path / "runs" / "test")
    assert (len(run.keys("raw")), run.keys("restored")) == (6, [])
    assert "Brightfield, GFP" in status.shortfalls[0]
