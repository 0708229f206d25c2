"""Several networks of one process hold no more memory between their volumes than the budget; the first to go rests."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.config import ChannelConfig, RestoreConfig
from care_live.errors import ModelError
from care_live.reasons import Choice
from care_live.restore.network_set import NetworkSet, SharedBudget
from tests.make.networks import save_network


class Holding:
    """A network that holds what its last volume needed, until it rests."""

    def __init__(self, need_bytes: int) -> None:
        self.need, self.held_bytes, self.is_streaming, self.n_rests = need_bytes, 0, False, 0

    def need_bytes(self, n_px: int) -> int:
        return self.need

    def rest(self, choice: Choice) -> None:
        assert choice.kind == "whole"
        self.held_bytes, self.n_rests = 0, self.n_rests + 1

    def run(self) -> None:
        self.held_bytes = self.need


class Process:
    """Networks of these needs, and their budget."""

    def __init__(self, limit_bytes: int, *needs: int) -> None:
        self.networks = tuple(map(Holding, needs))
        self.budget = SharedBudget(self.networks, limit_bytes, self.taken)

    def taken(self) -> int:
        return 1000 + sum(network.held_bytes for network in self.networks)

    def restore(self, number: int) -> None:
        self.budget.use(number, 1)
        self.networks[number].run()

    @property
    def held(self) -> list[int]:
        return [network.held_bytes for network in self.networks]


def test_networks_that_fit_together_keep_what_they_hold() -> None:
    process = Process(100, 40, 50)
    for number in (0, 1, 0, 1):
        process.restore(number)
    process.budget.measure()
    assert (process.held, process.budget.held_bytes) == ([40, 50], [40, 50])
    assert [network.n_rests for network in process.networks] == [0, 0]


def test_the_one_that_was_not_used_for_longest_gives_way() -> None:
    process = Process(100, 40, 40, 40)
    for number in (0, 1, 0, 2):
        process.restore(number)
    assert process.held == [40, 0, 40]
    process.restore(1)
    assert process.held == [0, 40, 40], "the first one is now the oldest"


def test_the_sum_never_passes_the_limit() -> None:
    process = Process(100, 30, 60, 70, 20)
    for number in (0, 1, 2, 3, 0, 2, 1, 3, 2, 0, 1):
        process.restore(number)
        assert sum(process.held) <= 100


def test_what_does_not_come_back_counts_as_held() -> None:
    process = Process(100, 60, 60, 10)
    process.restore(0)
    stuck = process.networks[0]
    stuck.rest = lambda choice: None  # type: ignore[method-assign]
    process.restore(1)
    assert process.budget.held_bytes[0] == 60
    process.restore(2)
    assert process.budget.held_bytes == [60, 0, 0], "so another one had to give way"
    process.budget.measure()
    assert process.budget.held_bytes == process.held == [60, 0, 10]


def test_a_network_that_can_give_nothing_more_is_not_asked_at_every_volume() -> None:
    process = Process(100, 60, 60)
    asked: list[Choice] = []
    process.restore(0)
    process.networks[0].rest = asked.append  # type: ignore[method-assign]
    for number in (1, 1, 0, 1, 0, 1):
        process.restore(number)
    assert len(asked) == 1
    process.networks[0].need = 80
    for number in (0, 1):
        process.restore(number)
    assert len(asked) == 2, "it has grown since"


def test_a_network_that_streams_is_left_alone() -> None:
    process = Process(100, 60, 60)
    process.restore(0)
    process.networks[0].is_streaming = True
    process.restore(1)
    assert process.held == [60, 60]


def test_where_memory_runs_out_all_others_give_way() -> None:
    process = Process(1000, 60, 60, 60)
    for number in (0, 1, 2):
        process.restore(number)
    process.budget.free_memory()
    assert process.held == [0, 0, 60] == process.budget.held_bytes


def test_a_network_that_can_not_run_is_said_with_its_channels(tmp_path: Path) -> None:
    good, missing = save_network(tmp_path / "good.onnx", filters=2), tmp_path / "missing.onnx"
    entries = (ChannelConfig(name="GFP", model=good), ChannelConfig(name="RFP", model=missing))
    with pytest.raises(ModelError, match=r"network of channel RFP: .*missing\.onnx"):
        NetworkSet(RestoreConfig(channel=entries, provider="cpu", threads=1))
