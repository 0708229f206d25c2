"""Protocol cl1: each golden message and request, damaged; what is accepted must travel on unchanged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from care_live.errors import ProtocolError
from care_live.publish import delivery
from care_live.wire import cl1, messages, plans
from fuzzing.damage import Case, Files
from fuzzing.datasets import ROOT
from fuzzing.messages import damaged_message, enumerate_parts, parts_of
from fuzzing.target import Target, WrongError
from tests.make.messages import parted

GOLDEN = ROOT / "tests" / "wire" / "golden"


class Messages:
    """What a subscriber does with a message, and a daemon with a request."""

    def originals(self, folder: Path) -> Sequence[Files]:
        return [dict(enumerate_parts(parted(path.read_bytes()))) for path in sorted(GOLDEN.glob("*.cl1"))]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        return damaged_message(sound, chance)

    def read(self, case: Case, folder: Path) -> None:
        parts = parts_of(case.files)
        refused: list[ProtocolError] = []
        for decode in (_take_message, _take_request):
            try:
                decode(parts)
            except ProtocolError as error:
                refused.append(error)
        if len(refused) == 2:
            raise refused[0]


def _take_message(parts: list[bytes]) -> None:
    message, codes = cl1.decode(parts)
    if cl1.decode(cl1.encode(message, parts[1:]))[0] != message:
        raise WrongError(f"{type(message).__name__} changes when it is sent on")
    match message:
        case messages.Start():
            plans.plan_of(message.plan)
        case messages.VolumeMessage():
            delivery.of_volume(message, codes, 0.0, 0)
        case messages.Slab():
            delivery.of_planes(message, codes)


def _take_request(parts: list[bytes]) -> None:
    request = cl1.decode_request(parts)
    if cl1.decode_request(cl1.encode_request(request)) != request:
        raise WrongError(f"{type(request).__name__} changes when it is sent on")


def target() -> Target:
    return Messages()
