"""Each channel with its own network: a run, its store, its messages, its status, and the way back of one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from care_live.config import Config, RestoreConfig
from care_live.images import Restored, VolumeKey
from care_live.model import file
from care_live.restore.engine import Engine
from care_live.store import RunReader
from care_live.store.rounding import keep_mantissa_bits
from care_live.viewer import run_report
from care_live.viewer.history import History
from tests.make import runs
from tests.make.networks import save_network, volume
from tests.viewer.test_recorder import Recordings, assert_same

CHANNELS = ["Brightfield", "Nuclei", "Membrane", "Vessels"]
N_TIMES = 3


def movie(path: Path) -> NDArray[np.uint16]:
    pixels = np.random.default_rng(5).poisson(200, (N_TIMES, 4, len(CHANNELS), 24, 32)).astype(np.uint16)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "TZCYX", "Channel": {"Name": CHANNELS}})
    return pixels


@pytest.fixture
def networks(tmp_path: Path) -> dict[str, Path]:
    return {
        "single": save_network(tmp_path / "single.onnx", filters=2, seed=2),
        "joint": save_network(tmp_path / "joint.onnx", filters=2, seed=3, c_in=2, c_out=1),
    }


def settings(folder: Path, networks: dict[str, Path]) -> Config:
    channels: list[dict[str, Any]] = [
        {"name": "Brightfield", "model": "none"},
        {"name": "Vessels", "model": str(networks["single"])},
        {"name": ["Nuclei", "Membrane"], "model": str(networks["joint"])},
    ]
    source = runs.replay(folder / "movie.ome.tif") | {"axes": None}
    restore = {"channel": channels, "provider": "cpu", "streaming": "off", "policy": "wait"}
    return runs.config(folder, source, restore=restore)


def alone(network: Path, pixels: NDArray[np.uint16], *channels: int) -> list[tuple[Restored, ...]]:
    """Return what a network gives of these channels with no other one beside it."""
    engine = Engine(network, RestoreConfig(model=network, provider="cpu", threads=1, streaming="off"))
    stacks = ([volume(pixels[t, :, c], t=t, c=c) for c in channels] for t in range(N_TIMES))
    return [engine.restore(one) for one in stacks]


def test_each_channel_is_what_its_network_alone_gives(tmp_path: Path, networks: dict[str, Path]) -> None:
    pixels, config = movie(tmp_path / "movie.ome.tif"), settings(tmp_path, networks)
    recording: list[Recordings] = []
    status = runs.run(
        config, meanwhile=lambda _: recording.append(Recordings(config.publish.bind_pull, tmp_path / "copy"))
    )
    recording[0].join(60)
    run = RunReader(tmp_path / "runs" / "test")
    assert status.shortfalls == ()
    assert [(one["network"], one["channels"], one["restored"]) for one in status.networks] == [
        (file.read_card(networks["single"]).name, ["Vessels"], N_TIMES),
        (file.read_card(networks["joint"]).name, ["Nuclei", "Membrane"], N_TIMES),
    ]
    assert run.keys("raw") == [VolumeKey(t, 0, c) for t in range(N_TIMES) for c in range(4)]
    assert run.keys("restored") == [VolumeKey(t, 0, c) for t in range(N_TIMES) for c in (1, 3)]
    for c, wanted in {3: alone(networks["single"], pixels, 3), 1: alone(networks["joint"], pixels, 1, 2)}.items():
        for t, (one,) in enumerate(wanted):
            key = VolumeKey(t, 0, c)
            assert np.array_equal(run.read("restored", key), keep_mantissa_bits(one.mean, 10)), (
                f"volume {tuple(key)} differs"
            )
            assert run.restoration(key).model == one.model
    assert_same(tmp_path / "copy" / "test", run.path)
    assert {one.sha256: one.channels for one in run.models} == {
        file.identity(networks["single"]).sha256: (3,),
        file.identity(networks["joint"]).sha256: (1,),
    }
    info = History(run.path).info()
    assert [info.network_of(c).model for c in (3, 1)] == [file.identity(networks[name]) for name in ("single", "joint")]
    report = run_report.write(run.path, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "</b> of Nuclei (" in report
    assert "</b> of Vessels (" in report
