"""Rooms for volumes on their way: used again only when nobody can write to them any more."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from care_live.images import PlanePlaced, VolumeKey, VolumeOpened
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.worker.buffers import Incoming
from care_live.worker.shared_memory import Pool
from tests.make.networks import noisy, volume

CARD = ModelCard(name="net", divisor=(2, 2, 2), halo_px=(8, 8, 8), heads=("mean", "laplace_scale"))
SPAN = Span(100.0, 300.0)


def opened(t: int) -> VolumeOpened:
    return VolumeOpened(VolumeKey(t), (0, 1, 2), (8, 8), "uint16")


@pytest.mark.slow
def test_the_memory_of_a_volume_given_up_waits_for_the_next_answer() -> None:
    incoming = Incoming(Pool())
    begun = incoming.begin(opened(0), CARD, {0: SPAN})
    assert begun is not None
    given_up = begun.pixels[0].segment.serial
    for t in range(1, 12):
        incoming.begin(opened(t), CARD, {0: None})
        gc.collect()
    rooms = incoming.let_go()
    assert given_up in {room.places[0].segment.serial for room in rooms}


def test_a_volume_with_a_missing_plane_is_laid_out_anew() -> None:
    incoming = Incoming(Pool())
    incoming.begin(opened(0), CARD, {0: SPAN})
    stack = volume(noisy((3, 8, 8)), missing=[1])
    for z in (0, 2):
        incoming.place(PlanePlaced(stack.key, z, stack.pixels[z]))
    assert incoming.take([stack]) is None
    assert len(incoming.let_go()) == 1


def test_planes_end_where_they_belong() -> None:
    incoming = Incoming(Pool())
    stack = volume(noisy((3, 8, 8)))
    incoming.begin(opened(0), CARD, {0: None})
    for z in (2, 0, 1):
        incoming.place(PlanePlaced(stack.key, z, stack.pixels[z]))
    taken = incoming.take([stack])
    assert taken is not None
    room, begun = taken
    assert not begun
    assert (room.pixels[0] == stack.pixels).all()


def test_inference_is_told_no_more_than_it_takes() -> None:
    incoming = Incoming(Pool())
    many = VolumeOpened(VolumeKey(0), tuple(range(40)), (8, 8), "uint16")
    incoming.begin(many, CARD, {0: SPAN})
    told = []
    for z in range(40):
        incoming.place(PlanePlaced(many.key, z, np.zeros((8, 8), np.uint16)))
        told += [z for message in incoming.news() for z in message.planes]
    assert told == [(0, z) for z in range(8)]


def test_no_more_than_two_volumes_are_begun_before_an_answer() -> None:
    incoming = Incoming(Pool())
    begun = [incoming.begin(opened(t), CARD, {0: SPAN}) is not None for t in range(4)]
    assert begun == [True, True, False, False]
    incoming.answered()
    assert incoming.begin(opened(4), CARD, {0: SPAN}) is not None


@pytest.mark.parametrize("order", ["interleaved", "one-after-the-other"])
def test_channels_of_one_time_point_share_a_room(order: str) -> None:
    incoming = Incoming(Pool())
    about = CARD.model_copy(update={"channels_in": ("a", "b"), "channels_out": ("a", "b")})
    stacks = [volume(noisy((3, 8, 8), seed=c), c=c) for c in (1, 4)]
    planes = [PlanePlaced(stack.key, z, stack.pixels[z]) for stack in stacks for z in range(3)]
    if order == "interleaved":
        planes.sort(key=lambda placed: placed.plane)
    begun, told = [], []
    for placed in planes:
        if placed.plane == 0:
            news = VolumeOpened(placed.key, (0, 1, 2), (8, 8), "uint16")
            begun.append(incoming.begin(news, about, {1: SPAN, 4: SPAN}))
        incoming.place(placed)
        told += [plane for message in incoming.news() for plane in message.planes]
    assert begun[0] is not None and begun[1] is None
    assert begun[0].key == VolumeKey(0, 0, 1) and len(begun[0].spans) == len(begun[0].pixels) == 2
    assert sorted(told) == [(channel, z) for channel in (0, 1) for z in range(3)]
    assert incoming.take(stacks[::-1]) is None  # nobody opened a time point by this key
    taken = incoming.take(stacks)
    assert taken is not None and taken[1]
    for pixels, stack in zip(taken[0].pixels, stacks, strict=True):
        assert (pixels == stack.pixels).all()


def test_a_time_point_with_an_incomplete_channel_is_laid_out_anew() -> None:
    incoming = Incoming(Pool())
    about = CARD.model_copy(update={"channels_in": ("a", "b")})
    stacks = [volume(noisy((3, 8, 8), seed=c), c=c) for c in (0, 1)]
    for stack in stacks:
        incoming.begin(VolumeOpened(stack.key, (0, 1, 2), (8, 8), "uint16"), about, {0: SPAN, 1: SPAN})
        for z in range(3 - stack.key.c):
            incoming.place(PlanePlaced(stack.key, z, stack.pixels[z]))
    assert incoming.take(stacks) is None
    assert len(incoming.let_go()) == 1


@pytest.mark.parametrize("head", ["mean", "laplace_scale"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_planes_that_are_no_numbers_are_not_shown(head: Head, value: float) -> None:
    incoming = Incoming(Pool())
    incoming.begin(opened(0), CARD, {0: SPAN})
    (arriving,) = incoming._open.values()
    for array in arriving.room.maps.values():
        array[:] = 1.0
    arriving.room.taken[1] = 1
    assert [(planes.first, len(planes.maps["mean"])) for planes in incoming.restored_planes()] == [(0, 1)]
    arriving.room.maps[head][0, 1, 2, 3] = value
    arriving.room.taken[1] = 3
    assert incoming.restored_planes() == []
