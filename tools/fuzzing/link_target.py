"""The link between a tap and the daemon: each kind of message, damaged, both ways."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from care_live.checksum import crc32c
from care_live.errors import ProtocolError
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, SequenceEnded, VolumeKey, read_only
from care_live.source.receiver import Receiver
from care_live.wire import tap_codec, tap_protocol
from fuzzing.damage import Case, Files
from fuzzing.messages import damaged_message, enumerate_parts, parts_of
from fuzzing.target import Target, WrongError

_TAP = "ab" * 16
_PIXELS = read_only(np.arange(42, dtype=np.uint16).reshape(6, 7))
_STACKS = {VolumeKey(0): (0, 1, 2), VolumeKey(0, 1): (0, 1, 2), VolumeKey(1): (1, 3)}


class TapMessages:
    """What the daemon does with a tap's message, and a tap with the daemon's."""

    def originals(self, folder: Path) -> Sequence[Files]:
        envelope = tap_codec.Envelope(_TAP, 1, 0, 123)
        events = (
            RunStarted("r", Plan(_STACKS, (6, 7), "uint16", (1.5, 0.2, 0.2)), {"objective": "60x"}),
            Frame("r", 0, PlaneIndex(1, 0, 0, 3), _PIXELS, 99, 1_700_000_000_000_000, 12.5, 7, 42),
            SequenceEnded(3, 10, 9, "lost"),
            RunEnded("stalled", "no frame", 5, 2),
        )
        from_tap = [tap_codec.event_message(event, envelope, token="", checksum=crc32c(_PIXELS)) for event in events]
        to_tap = (tap_protocol.Ack(next_number=1, epoch=0), tap_protocol.TapStop(), tap_protocol.Refuse(reason="busy"))
        messages = [*from_tap, tap_codec.ping(envelope), *to_tap]
        return [dict(enumerate_parts(_sent(message))) for message in messages]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        return damaged_message(sound, chance)

    def read(self, case: Case, folder: Path) -> None:
        parts = [memoryview(part) for part in parts_of(case.files)]
        refused: list[ProtocolError] = []
        for take in (_take_as_daemon, tap_protocol.decode_to_tap):
            try:
                take(parts)
            except ProtocolError as error:
                refused.append(error)
        if len(refused) == 2:
            raise refused[0]


def _take_as_daemon(parts: list[memoryview]) -> None:
    """Take a message in the middle of a run, and what it says of a run as the first one."""
    head, pixels = tap_protocol.decode_from_tap(parts)
    if pixels is not None and pixels.shape == _PIXELS.shape and not np.array_equal(pixels, _PIXELS):
        raise WrongError("damaged pixels were taken for a frame")
    receiver = Receiver(run_id="r")
    if not isinstance(head, tap_protocol.TapStart):
        start = tap_codec.event_message(
            RunStarted("r", Plan(_STACKS, (6, 7))), tap_codec.Envelope(_TAP, 0, 0, 0), token=""
        )
        receiver.take(start, None, now_ns=0)
    event = receiver.take(head, pixels, now_ns=1).event
    if isinstance(event, RunStarted):
        len(event.plan.stacks)


def _sent(message: tap_protocol.FromTap | tap_protocol.ToTap) -> list[bytes]:
    pixels = _PIXELS if isinstance(message, tap_protocol.FrameHead) else None
    return [bytes(part) for part in tap_protocol.encode(message, pixels)]


def target() -> Target:
    return TapMessages()
