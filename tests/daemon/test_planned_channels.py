"""Networks for channels that a run will not have: refused before anything is exposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from care_live.config import Config
from care_live.daemon.planned_channels import (
    planned_channels,
    refuse_channels_of_recording,
    refuse_unknown_channels,
)
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import ConfigError
from care_live.images import Plan, RunStarted, VolumeKey
from care_live.model.card import ModelCard
from care_live.restore.channel_choice import ChannelChoice, NetworkWish, choose
from tests.make.runs import config

CARD = ModelCard(name="net", divisor=(1, 4, 4), halo_px=(2, 8, 8))
SHORT = {"kind": "virtual", "acquisition": {"channels": [{"preset": "DAPI"}, {"preset": "FITC"}]}}
SEQUENCE = {"kind": "virtual", "sequence": {"channels": ["DAPI", "FITC"]}}


class Opened(WorkerGroup):
    """Networks whose files were not opened: what they shall restore is all that is asked of them."""

    def choose(self, of_run: Any) -> tuple[ChannelChoice, tuple[str, ...]]:
        return choose([NetworkWish(CARD, network.channels) for network in self.asked.networks], of_run)


def asking(folder: Path, source: dict[str, Any], *channels: str) -> tuple[Config, Opened]:
    settings = config(folder, source, restore={"channels": list(channels)})
    group = Opened(settings.restore)
    group.asked = settings.restore  # type: ignore[attr-defined]
    return settings, group


@pytest.mark.parametrize("source", [SHORT, SEQUENCE], ids=["short", "sequence"])
def test_names_are_compared_with_the_plan_of_the_settings(tmp_path: Path, source: dict[str, Any]) -> None:
    refuse_unknown_channels(*asking(tmp_path, source, "FITC"))
    refuse_unknown_channels(*asking(tmp_path, source))
    with pytest.raises(ConfigError, match="shall restore Cy5, but the channels are DAPI, FITC"):
        refuse_unknown_channels(*asking(tmp_path, source, "Cy5"))


def test_several_cameras_are_left_to_the_acquisition(tmp_path: Path) -> None:
    refuse_unknown_channels(*asking(tmp_path, SHORT, "DAPI Camera-1"))


def test_a_tap_says_its_channels_itself(tmp_path: Path) -> None:
    settings, group = asking(tmp_path, {"kind": "remote"}, "Cy5")
    assert planned_channels(settings.source) == ()
    refuse_unknown_channels(settings, group)


def test_of_a_recording_they_are_compared_when_it_begins(tmp_path: Path) -> None:
    begun = RunStarted("run", Plan({VolumeKey(0): (0,)}, (8, 8), channels=("DAPI",)))
    refuse_channels_of_recording(*asking(tmp_path, {"kind": "replay", "path": "a.tif"}, "DAPI"), begun)
    with pytest.raises(ConfigError, match="but the channels are DAPI"):
        refuse_channels_of_recording(*asking(tmp_path, {"kind": "replay", "path": "a.tif"}, "FITC"), begun)
    refuse_channels_of_recording(*asking(tmp_path, {"kind": "remote"}, "FITC"), begun)
