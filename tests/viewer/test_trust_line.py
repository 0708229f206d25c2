"""The trust light over time: the worst of a time point, and few words for many volumes."""

from __future__ import annotations

from dataclasses import replace

from care_live.images import VolumeKey
from care_live.verdict import Trust
from care_live.viewer.trust_line import TrustNote, TrustSpan, note_of, spans
from tests.make.scenes import but, filled, scene

GREEN, RED = TrustNote("green", ""), TrustNote("red", "a nucleus was invented")


def test_time_points_of_one_verdict_are_one_span_and_a_gap_ends_it() -> None:
    notes = {VolumeKey(t): GREEN for t in (0, 1, 2, 5)} | {VolumeKey(3): RED, VolumeKey(1, p=1): RED}
    assert spans(notes) == [
        TrustSpan(0, 0, 2, *GREEN),
        TrustSpan(0, 3, 3, *RED),
        TrustSpan(0, 5, 5, *GREEN),
        TrustSpan(1, 1, 1, *RED),
    ]


def test_the_worst_channel_stands_for_a_time_point() -> None:
    amber = note_of(Trust("amber", ("planes are missing", "more")))
    assert amber.reason == "planes are missing"
    notes = {VolumeKey(0, c=0): amber, VolumeKey(0, c=1): RED, VolumeKey(0, c=2): GREEN}
    assert spans(notes) == [TrustSpan(0, 0, 0, *RED)]


def test_the_reason_names_its_channel_where_there_are_several() -> None:
    notes = {VolumeKey(0, c=0): RED, VolumeKey(0, c=1): GREEN, VolumeKey(1, c=0): GREEN, VolumeKey(1, c=1): RED}
    said = [(one.first, one.reason) for one in spans(notes, ("GFP", "RFP"))]
    assert said == [(0, "GFP: a nucleus was invented"), (1, "RFP: a nucleus was invented")]
    assert spans({VolumeKey(0): RED}, ("GFP",))[0].reason == RED.reason
    index = filled(but(scene(0), trust=Trust("red", ("bad",))))
    index.cache.begin(replace(index.info, channels=("GFP", "RFP")))
    index.cache.put(but(scene(0), trust=Trust("red", ("bad",))))
    assert index.trust_spans()[0].reason == "GFP: bad"


def test_the_line_goes_on_where_volumes_left_the_memory() -> None:
    index = filled(but(scene(0), trust=Trust("red", ("bad",))))
    index.cache.memory_bytes = 0
    index.cache.put(but(scene(1), trust=Trust("green")))
    assert index.cache.get(VolumeKey(0)) is None
    assert [(one.first, one.colour) for one in index.trust_spans()] == [(0, "red"), (1, "green")]
    index.cache.begin(replace(index.info, run_id="another"))
    assert index.trust_spans() == []
