"""Which network restores which channel, and what one worker of several is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from care_live.restore_config import RestoreConfig

TWO = RestoreConfig.model_validate(
    {
        "model": "worm.onnx",
        "channel": [
            {"name": ["DAPI", "GFP"]},
            {"name": "RFP", "model": "beads.onnx", "provider": "cpu"},
            {"name": "BF", "model": "none"},
        ],
    }
)


def test_one_network_is_a_list_with_one_entry() -> None:
    (only,) = RestoreConfig(model=Path("worm.onnx"), channels=("GFP",)).networks
    assert only == (Path("worm.onnx"), ("GFP",), "auto")


def test_an_entry_says_its_network_or_takes_the_one_for_all() -> None:
    assert TWO.networks == (
        (Path("worm.onnx"), ("DAPI", "GFP"), "auto"),
        (Path("beads.onnx"), ("RFP",), "cpu"),
    )


def test_another_file_goes_to_one_network_and_no_other() -> None:
    changed = TWO.with_network(1, Path("newer.onnx"))
    assert [network.model for network in changed.networks] == [Path("worm.onnx"), Path("newer.onnx")]
    assert [network.channels for network in changed.networks] == [network.channels for network in TWO.networks]


def test_providers_are_counted_by_networks_and_not_by_entries() -> None:
    assert [network.provider for network in TWO.with_providers(("cuda", "openvino")).networks] == ["cuda", "openvino"]


def test_the_settings_of_one_network_have_no_other() -> None:
    only = TWO.only(1)
    assert only.networks == (TWO.networks[1],)
    assert not only.channel


def test_each_worker_has_a_device_of_its_own() -> None:
    config = RestoreConfig.model_validate({"devices": [0, 2], "threads": 3})
    assert [(one.device, one.workers, one.threads) for one in config.each_worker] == [(0, 1, 3), (2, 1, 3)]
    (alone,) = RestoreConfig().each_worker
    assert alone.threads == 0, "a worker that is alone may use all cores"


def test_a_channel_that_two_entries_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="GFP"):
        RestoreConfig.model_validate({"channel": [{"name": "GFP"}, {"name": ["GFP", "RFP"]}]})
