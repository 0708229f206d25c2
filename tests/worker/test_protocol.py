"""What passes the pipe of inference comes back as it was, and nothing else is taken from it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from care_live.errors import ProtocolError
from care_live.images import Integrity, ModelIdentity, RestoredHead, Volume, VolumeHead, VolumeKey
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.reasons import streamed
from care_live.restore.ranges import LearntRange
from care_live.verdict import Doubt, Trust
from care_live.wire.codec import record_of
from care_live.worker import protocol
from care_live.worker.shared_memory import ArrayAddress, SegmentName

PLACE = ArrayAddress(SegmentName(3, "/dev/shm/x", 4096), 64, (2, 6, 7), "<u2")
VOLUME = Volume(
    run_id="worm-7",
    key=VolumeKey(3, 0, 1),
    pixels=np.zeros((2, 6, 7), np.uint16),
    voxel_size_um=(2.0, 0.5, 0.5),
    integrity=Integrity((0, 1), (0,), sequence_ids=(7,)),
    closed="deadline",
    state="suspect",
    first_plane_ns=1,
    last_plane_ns=2,
    acquired_us=3,
)
MEMORIES = {(0, 1): LearntRange(Span(np.float32(100.5), float("inf")), 2), (4, 0): LearntRange()}
TRUST = Trust("red", ("it is invented",), (Doubt("invented", (1, 2, 3), 7.5),), (1.25,))
REQUESTS: tuple[protocol.InferenceRequest, ...] = (
    protocol.WarmUp((2, 6, 7)),
    protocol.Begin(VOLUME.key, (PLACE,), PLACE, {"mean": PLACE}, (Span(1.0, 2.0),), 0.25),
    protocol.PlanesPlaced(VOLUME.key, ((0, 1), (1, 0))),
    protocol.Abandon(VOLUME.key, streamed("sooner", streamed_ms=3.5)),
    protocol.Work((record_of(VolumeHead, VOLUME),), (PLACE,), {"mean": PLACE}, MEMORIES, frozenset({3, 4})),
    protocol.StopInference(),
)
CARD = ModelCard(name="net", divisor=(1, 4, 4), halo_px=(2, 8, 8))
KEY = VolumeKey(3, 0, 1)
RESULT = RestoredHead(
    key=KEY,
    sources=(KEY,),
    voxel_size_um=(2.0, 0.5, 0.5),
    low=1.0,
    high=2.0,
    model=ModelIdentity("net", "5e"),
    infer_s=0.5,
    trust=TRUST,
    flags=frozenset({"late"}),
)
ANSWERS: tuple[protocol.InferenceAnswer, ...] = (
    protocol.Ready((protocol.NetworkReady(CARD, ModelIdentity("net", "5e"), "cpu"),), 2**30),
    protocol.Done((RESULT,), (("mean", "evidence"),), MEMORIES, streamed("asked")),
    protocol.Failed("ModelError", "it cannot run"),
)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda message: type(message).__name__)
def test_a_request_comes_as_it_was_sent(request_: protocol.InferenceRequest) -> None:
    assert protocol.requests.decode(protocol.requests.encode(request_)) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda message: type(message).__name__)
def test_an_answer_comes_as_it_was_sent(answer: protocol.InferenceAnswer) -> None:
    assert protocol.answers.decode(protocol.answers.encode(answer)) == answer


def test_a_volume_has_its_pixels_again_from_shared_memory() -> None:
    (work,) = (request for request in REQUESTS if isinstance(request, protocol.Work))
    again = record_of(Volume, work.volumes[0], pixels=VOLUME.pixels)
    assert (again.key, again.integrity, again.state) == (VOLUME.key, VOLUME.integrity, VOLUME.state)


@pytest.mark.parametrize("said", [b"", b"\xff", pickle.dumps(ModelIdentity("net", "5e")), b"\x81\xa4type\xa4Work"])
def test_only_answers_are_taken(said: bytes) -> None:
    with pytest.raises(ProtocolError, match="answer of inference is invalid"):
        protocol.answers.decode(said)


def test_what_is_not_of_its_type_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="shape"):
        protocol.requests.encode(protocol.WarmUp((2, 6)))  # type: ignore[arg-type]
