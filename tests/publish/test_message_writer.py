"""Notes as messages: a plan that is too long for a header is sent without what is too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from care_live.images import NotRestored, Plan, RunStarted, VolumeKey
from care_live.publish.encoder import Run
from care_live.publish.log import Log
from care_live.publish.message_writer import MAX_DETAIL, MessageWriter
from care_live.wire import cl1
from care_live.wire.arrays import as_bytes
from care_live.wire.messages import Message, Skipped, Start
from tests.make.samples import NETWORK, started


class Written:
    """A log, and its entries as a watcher decodes them."""

    def __init__(self) -> None:
        self.log, self.run = Log(2**20), Run("a" * 16, "run-1", (NETWORK,))
        self.writer = MessageWriter(self.run, self.log)

    def note(self, record: Any, **more: object) -> Message:
        entry = self.log.append(record)
        message, _ = cl1.decode([memoryview(as_bytes(part)) for part in self.writer.note(entry, **more)])
        return message

    def start(self, plan: Plan, summary: Mapping[str, Any]) -> Start:
        message = self.note(RunStarted("run-1", plan, summary))
        assert isinstance(message, Start)
        return message


def test_a_start_says_plan_and_source_and_the_newest_number() -> None:
    message = Written().start(started().plan, {"scope": "test"})
    assert message.left_out is UNSET
    assert (message.seq, message.newest, message.summary) == (0, 0, {"scope": "test"})


def test_of_what_is_too_long_only_that_is_left_out() -> None:
    message = Written().start(started().plan, {"notes": "x" * (2 << 20)})
    assert message.left_out == ("summary",)
    assert message.plan.channels == started().plan.channels


def test_a_plan_of_many_positions_is_sent_without_their_names() -> None:
    names = tuple(f"well {p:05d} of a plate with a long name, {'x' * 80}" for p in range(20_000))
    plan = Plan({VolumeKey(0): (0,)}, (4, 4), positions=names)
    message = Written().start(plan, {"scope": "test"})
    assert message.left_out == ("positions",)
    assert message.summary == {"scope": "test"}


def test_a_long_detail_is_cut_and_a_broadcast_is_counted() -> None:
    message = Written().note(NotRestored(VolumeKey(3), "failed", "x" * 5000), count=7)
    assert isinstance(message, Skipped)
    assert (message.key, len(message.detail), message.count) == ((3, 0, 0), MAX_DETAIL, 7)
