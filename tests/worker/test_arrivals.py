"""Volumes on their way: planes where inference sees them, and memory used again only once it can't be written to."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.images import ModelIdentity, Volume, VolumeKey
from care_live.maps import Head
from care_live.model.card import ModelCard
from care_live.open_volumes import VolumeOpened
from care_live.percentiles import Span
from care_live.restore import past
from care_live.restore.in_flight import PlaneProgress
from care_live.restore.ranges import LearntRange
from care_live.worker import protocol
from care_live.worker.arrivals import Arrivals
from care_live.worker.inference_process import RunningNetworks
from care_live.worker.shared_memory import Pool, SegmentView
from tests.make.inference import frames_of
from tests.make.networks import noisy, volume

CARD = ModelCard(name="net", divisor=(2, 2, 2), halo_px=(8, 8, 8), heads=("mean", "laplace_scale"))
TWO = CARD.model_copy(update={"channels_in": ("a", "b"), "channels_out": ("a", "b")})
LOCKED = RestoreConfig(normalise=NormaliseConfig(lock_after_volumes=1))
KNOWN = LearntRange(Span(100.0, 300.0), 1)


class Pipe:
    """Arrivals on one end, and what inference would receive on the other."""

    def __init__(
        self, *, card: ModelCard = CARD, known: tuple[int, ...] = (0,), config: RestoreConfig = LOCKED
    ) -> None:
        self.sent: list[protocol.InferenceRequest] = []
        self.card = card
        self.arrivals = Arrivals(Pool(), config)
        inference = SimpleNamespace(send=self.sent.append, is_full=False)
        ready = protocol.Ready((protocol.NetworkReady(card, ModelIdentity("net", ""), "cpu"),))
        memories = {(0, c): KNOWN for c in known}
        self.running = RunningNetworks.begun(inference, ready, memories)  # type: ignore[arg-type]
        self.inference = inference
        self.arrivals.go_to(self.running)

    def open(self, t: int, c: int = 0, n_planes: int = 3) -> bool:
        """Return whether inference was asked to stream it."""
        before = len(self.of(protocol.Begin))
        self.arrivals.begin(VolumeOpened(VolumeKey(t, 0, c), tuple(range(n_planes)), (8, 8), "uint16"))
        return len(self.of(protocol.Begin)) > before

    def of(self, kind: type) -> list[protocol.InferenceRequest]:
        return [message for message in self.sent if isinstance(message, kind)]

    def place(self, stack: Volume, *planes: int) -> None:
        for frame in [frames_of(stack)[z] for z in planes]:
            self.arrivals.place(frame)

    def planes(self) -> list[tuple[int, int]]:
        return [plane for message in self.of(protocol.PlanesPlaced) for plane in message.planes]

    def asked(self, *stacks: Volume, choice: object = None) -> object:
        work = protocol.Work(stacks, (), {}, {}, frozenset(), choice)
        return self.arrivals.asked(self.inference, work)


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def test_planes_end_where_they_belong(pipe: Pipe) -> None:
    stack = volume(noisy((3, 8, 8)))
    assert pipe.open(0)
    pipe.place(stack, 2, 0, 1)
    shared, why_whole = pipe.arrivals.shared_volume([stack], CARD)
    assert why_whole is None
    assert (shared.pixels[0] == stack.pixels).all()
    (begin,) = pipe.of(protocol.Begin)
    assert begin.pixels == shared.addresses
    assert pipe.planes() == [(0, 2), (0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda: Pipe(known=()), "range-unknown"),
        (lambda: Pipe(config=RestoreConfig(streaming="off")), "off"),
        (lambda: Pipe(card=CARD.model_copy(update={"normalisation": "none"})), "foreign"),
    ],
    ids=["range-unknown", "off", "foreign"],
)
def test_a_volume_that_is_not_streamed_has_its_planes_in_place_and_a_reason(
    how: Callable[[], Pipe], reason: str
) -> None:
    pipe, stack = how(), volume(noisy((3, 8, 8)))
    assert not pipe.open(0)
    pipe.place(stack, 0, 1, 2)
    shared, why_whole = pipe.arrivals.shared_volume([stack], pipe.card)
    assert why_whole is not None and why_whole.reason == reason
    assert (shared.pixels[0] == stack.pixels).all()
    assert pipe.sent == []


def test_a_volume_with_a_missing_plane_is_laid_out_anew(pipe: Pipe) -> None:
    stack = volume(noisy((3, 8, 8)), missing=[1])
    pipe.open(0)
    pipe.place(stack, 0, 2)
    (begin,) = pipe.of(protocol.Begin)
    shared, why_whole = pipe.arrivals.shared_volume([stack], CARD)
    assert why_whole is not None and why_whole.reason == "plane-missing"
    assert begin.pixels != shared.addresses


def test_a_volume_that_was_not_announced_comes_from_the_store(pipe: Pipe) -> None:
    _, why_whole = pipe.arrivals.shared_volume([volume(noisy((3, 8, 8)))], CARD)
    assert why_whole is not None and why_whole.reason == "stored"


def test_volumes_before_the_channels_are_known_say_so() -> None:
    pipe, stacks = Pipe(card=TWO, known=()), [volume(noisy((3, 8, 8)), c=c) for c in (1, 4)]
    for stack in stacks:
        pipe.open(0, stack.key.c)
        pipe.place(stack, 0, 1, 2)
    _, why_whole = pipe.arrivals.shared_volume(stacks, TWO)
    assert why_whole is not None and why_whole.reason == "channels-unknown"


def test_inference_is_sent_no_more_planes_than_it_takes(pipe: Pipe) -> None:
    pipe.open(0, n_planes=40)
    pipe.place(volume(noisy((40, 8, 8))), *range(40))
    assert pipe.planes() == [(0, z) for z in range(8)]
    (begin,) = pipe.of(protocol.Begin)
    PlaneProgress(SegmentView().array(begin.progress)).note(8, 0)
    assert pipe.arrivals.restored_planes() == []
    assert pipe.planes() == [(0, z) for z in range(40)]


def test_no_more_than_two_volumes_are_begun_before_an_answer(pipe: Pipe) -> None:
    assert [pipe.open(t) for t in range(4)] == [True, True, False, False]
    with pipe.asked():
        pass
    assert pipe.open(4)


def test_the_memory_of_a_volume_given_up_waits_for_the_next_answer(pipe: Pipe) -> None:
    stacks = [volume(noisy((3, 8, 8), seed=t), t=t) for t in range(9)]
    pipe.open(0)
    (begin,) = pipe.of(protocol.Begin)
    SegmentView().array(begin.pixels[0])[:] = 7
    for t in range(1, 5):
        pipe.open(t)
    assert [message.key.t for message in pipe.of(protocol.Abandon)] == [0]
    with pipe.asked(stacks[0]):
        gc.collect()
        laid_out = [
            pipe.arrivals.shared_volume([stack], CARD)[0] for stack in stacks[5:]
        ]  # from the store: laid out anew
        serials = {place.segment.serial for shared in laid_out for place in shared.addresses}
        assert begin.pixels[0].segment.serial not in serials
    del laid_out
    gc.collect()
    again = [pipe.arrivals.shared_volume([stack], CARD)[0] for stack in stacks[5:]]
    assert begin.pixels[0].segment.serial in {place.segment.serial for shared in again for place in shared.addresses}


def test_another_network_begins_anew_and_volumes_say_so(pipe: Pipe) -> None:
    stack = volume(noisy((3, 8, 8)))
    pipe.open(0)
    pipe.arrivals.begin_anew()
    pipe.arrivals.go_to(pipe.running)
    pipe.place(stack, 0, 1, 2)
    _, why_whole = pipe.arrivals.shared_volume([stack], CARD)
    assert why_whole is not None and why_whole.reason == "swapped"
    assert pipe.planes() == []
    assert pipe.open(1)


@pytest.mark.parametrize("order", ["interleaved", "one-after-the-other"])
def test_channels_of_one_time_point_share_memory(order: str) -> None:
    pipe = Pipe(card=TWO, known=(1, 4))
    stacks = [volume(noisy((3, 8, 8), seed=c), c=c) for c in (1, 4)]
    planes = [(stack, z) for stack in stacks for z in range(3)]
    if order == "interleaved":
        planes.sort(key=lambda plane: plane[1])
    begun = []
    for stack, z in planes:
        if z == 0:
            begun.append(pipe.open(0, stack.key.c))
        pipe.place(stack, z)
    assert begun == [True, False]
    (begin,) = pipe.of(protocol.Begin)
    assert begin.key == VolumeKey(0, 0, 1) and len(begin.spans) == len(begin.pixels) == 2
    assert sorted(pipe.planes()) == [(channel, z) for channel in (0, 1) for z in range(3)]
    shared, why_whole = pipe.arrivals.shared_volume(stacks, TWO)
    assert why_whole is None
    for pixels, stack in zip(shared.pixels, stacks, strict=True):
        assert (pixels == stack.pixels).all()


def test_a_time_point_with_an_incomplete_channel_is_laid_out_anew() -> None:
    pipe = Pipe(card=TWO, known=(0, 1))
    stacks = [volume(noisy((3, 8, 8), seed=c), c=c) for c in (0, 1)]
    for stack in stacks:
        pipe.open(0, stack.key.c)
        pipe.place(stack, *range(3 - stack.key.c))
    _, why_whole = pipe.arrivals.shared_volume(stacks, TWO)
    assert why_whole is not None and why_whole.reason == "plane-missing"


@pytest.mark.parametrize("head", ["mean", "laplace_scale"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_planes_with_nan_or_infinity_are_not_shown(pipe: Pipe, head: Head, value: float) -> None:
    pipe.open(0)
    (begin,) = pipe.of(protocol.Begin)
    inference = SegmentView()
    maps = {name: inference.array(place) for name, place in begin.results.items()}
    progress = PlaneProgress(inference.array(begin.progress))
    for array in maps.values():
        array[:] = 1.0
    progress.note(3, 1)
    assert [(planes.z.start, len(planes.maps["mean"])) for planes in pipe.arrivals.restored_planes()] == [(0, 1)]
    maps[head][0, 1, 2, 3] = value
    progress.note(3, 3)
    assert pipe.arrivals.restored_planes() == []


def test_a_volume_that_another_worker_restores_is_dropped_here(pipe: Pipe) -> None:
    assert pipe.open(0)
    assert pipe.arrivals.is_streaming(VolumeKey(0))
    assert pipe.arrivals.drop(VolumeKey(0)) is None
    assert not pipe.arrivals.is_streaming(VolumeKey(0))
    assert [message.key for message in pipe.of(protocol.Abandon)] == [VolumeKey(0)]  # type: ignore[union-attr]


def test_the_worker_that_takes_a_volume_over_says_why_it_is_whole(pipe: Pipe) -> None:
    other = Pipe(known=())
    other.open(0)
    why = other.arrivals.drop(VolumeKey(0))
    assert why is not None and why.reason == "range-unknown"
    pipe.arrivals.refuse(VolumeKey(0), why)
    _, why_whole = pipe.arrivals.shared_volume([volume(noisy((3, 8, 8)))], CARD)
    assert why_whole == why


PAST = CARD.model_copy(update={"past": 2})


@pytest.fixture
def with_past() -> Pipe:
    return Pipe(card=PAST)


def stacks(n: int) -> list[Volume]:
    return [volume(noisy((3, 8, 8), seed=t), t=t) for t in range(n)]


def test_planes_of_earlier_time_points_come_with_those_of_the_present(with_past: Pipe) -> None:
    first, second, now = stacks(3)
    for one in (first, second):
        with_past.arrivals.earlier.keep(one, 2)
    assert with_past.open(2)
    with_past.place(now, 1, 0, 2)
    read = past.completed([now], 2, {first.key: first, second.key: second})
    shared, why_whole = with_past.arrivals.shared_volume(read, PAST)
    assert why_whole is None
    assert all((mine == one.pixels).all() for mine, one in zip(shared.pixels, (now, second, first), strict=True))
    assert with_past.planes() == [(channel, z) for z in (1, 0, 2) for channel in range(3)]
    (begin,) = with_past.of(protocol.Begin)
    assert len(begin.spans) == len(begin.pixels) == 3
    assert set(begin.spans) == {KNOWN.span}


def test_before_the_first_time_point_the_present_stands_in(with_past: Pipe) -> None:
    (now,) = stacks(1)
    assert with_past.open(0)
    with_past.place(now, 0, 1, 2)
    shared, why_whole = with_past.arrivals.shared_volume(past.completed([now], 2, {}), PAST)
    assert why_whole is None
    assert all((mine == now.pixels).all() for mine in shared.pixels)


def test_without_the_earlier_one_in_memory_a_volume_is_restored_whole(with_past: Pipe) -> None:
    first, second, now = stacks(3)
    with_past.arrivals.earlier.keep(first, 2)  # the second one is not closed yet
    assert not with_past.open(2)
    with_past.place(now, 0, 1, 2)
    read = past.completed([now], 2, {first.key: first, second.key: second})
    shared, why_whole = with_past.arrivals.shared_volume(read, PAST)
    assert why_whole is not None and why_whole.reason == "past-unknown"
    assert all((mine == one.pixels).all() for mine, one in zip(shared.pixels, (now, second, first), strict=True))


def test_a_stream_that_read_another_past_is_no_result(with_past: Pipe) -> None:
    """It began without an earlier volume that came from the disk for the whole one."""
    first, second, now = stacks(3)
    for one in (first, volume(noisy((3, 9, 9)), t=1)):  # of another shape: the present stands in for it
        with_past.arrivals.earlier.keep(one, 2)
    assert with_past.open(2)
    with_past.place(now, 0, 1, 2)
    read = past.completed([now], 2, {first.key: first, second.key: second})
    shared, why_whole = with_past.arrivals.shared_volume(read, PAST)
    assert why_whole is not None
    assert (shared.pixels[1] == second.pixels).all()
