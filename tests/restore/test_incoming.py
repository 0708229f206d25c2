"""Rooms for volumes on their way: used again only when nobody can write to them any more."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from care_live.images import PlanePlaced, VolumeKey, VolumeOpened
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.restore.incoming import Incoming
from care_live.restore.shared import Pool
from tests.restore.networks import noisy, volume

CARD = ModelCard(name="net", divisor=(2, 2, 2), halo_px=(8, 8, 8), heads=("mean", "laplace_scale"))
SPAN = Span(100.0, 300.0)


def opened(t: int) -> VolumeOpened:
    return VolumeOpened(VolumeKey(t), (0, 1, 2), (8, 8), "uint16")


@pytest.mark.slow
def test_the_memory_of_a_volume_given_up_waits_for_the_next_answer() -> None:
    incoming = Incoming(Pool())
    begun = incoming.begin(opened(0), CARD, SPAN)
    assert begun is not None
    given_up = begun.pixels.segment.serial
    for t in range(1, 12):
        incoming.begin(opened(t), CARD, None)
        gc.collect()
    rooms = incoming.let_go()
    assert given_up in {room.places[0].segment.serial for room in rooms}


def test_a_volume_with_a_missing_plane_is_laid_out_anew() -> None:
    incoming = Incoming(Pool())
    incoming.begin(opened(0), CARD, SPAN)
    stack = volume(noisy((3, 8, 8)), missing=[1])
    for z in (0, 2):
        incoming.place(PlanePlaced(stack.key, z, stack.pixels[z]))
    assert incoming.take(stack) is None
    assert len(incoming.let_go()) == 1


def test_planes_end_where_they_belong() -> None:
    incoming = Incoming(Pool())
    stack = volume(noisy((3, 8, 8)))
    incoming.begin(opened(0), CARD, None)
    for z in (2, 0, 1):
        incoming.place(PlanePlaced(stack.key, z, stack.pixels[z]))
    taken = incoming.take(stack)
    assert taken is not None
    room, begun = taken
    assert not begun
    assert (room.pixels[0] == stack.pixels).all()


def test_inference_is_told_no_more_than_it_takes() -> None:
    incoming = Incoming(Pool())
    many = VolumeOpened(VolumeKey(0), tuple(range(40)), (8, 8), "uint16")
    incoming.begin(many, CARD, SPAN)
    told = []
    for z in range(40):
        incoming.place(PlanePlaced(many.key, z, np.zeros((8, 8), np.uint16)))
        told += [z for message in incoming.news() for z in message.planes]
    assert told == list(range(8))


def test_no_more_than_two_volumes_are_begun_before_an_answer() -> None:
    incoming = Incoming(Pool())
    begun = [incoming.begin(opened(t), CARD, SPAN) is not None for t in range(4)]
    assert begun == [True, True, False, False]
    incoming.answered()
    assert incoming.begin(opened(4), CARD, SPAN) is not None
