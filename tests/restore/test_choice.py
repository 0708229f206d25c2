"""The decision to stream, with its reason: from settings and ranges, then from counts of products, planes and bytes."""

from __future__ import annotations

from typing import Any

import pytest

from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import OutOfMemoryError, RestoreError
from care_live.percentiles import Span
from care_live.planewise import cost
from care_live.planewise.tiles import FieldPlan, plan
from care_live.reasons import Reason, whole
from care_live.restore.choice import at_first_plane, broken, decide, given_up, may_stream
from tests.make.seeded_unets import seeded
from tests.planewise.test_stream import card

KNOWN, OPEN = Span(100.0, 300.0), None
TIB = 1 << 40


@pytest.fixture(scope="module")
def prepared() -> FieldPlan:
    found = plan(seeded(filters=32), card(), (32, 64, 64))
    assert isinstance(found, FieldPlan)
    return found


TWO_NETWORKS = ({"name": "GFP", "model": "a.onnx"}, {"name": "RFP", "model": "b.onnx"})


@pytest.mark.parametrize(
    ("config", "about", "spans", "n_unanswered", "reason"),
    [
        ({}, {}, {0: KNOWN}, 0, None),
        ({}, {}, {0: KNOWN}, 2, "busy"),
        ({"channel": TWO_NETWORKS}, {}, {0: KNOWN}, 2, "busy"),
        ({}, {}, {0: OPEN}, 0, "range-unknown"),
        ({}, {}, {0: KNOWN, 1: OPEN}, 0, "range-unknown"),
        ({}, {}, {}, 0, "channels-unknown"),
        ({"streaming": "off"}, {}, {}, 2, "off"),
        ({}, {"normalisation": "none"}, {0: KNOWN}, 0, "foreign"),
    ],
    ids=["may-stream", "busy", "busy-of-two", "range", "one-range", "channels", "off", "foreign"],
)
def test_what_the_daemon_knows_at_the_first_plane(
    config: dict[str, Any], about: dict[str, Any], spans: dict[int, Span | None], n_unanswered: int, reason: Reason
) -> None:
    ours, network = RestoreConfig(**config), card().model_copy(update=about)
    choice = at_first_plane(ours, network, spans, n_unanswered=n_unanswered)
    assert (choice and choice.reason) == reason
    assert may_stream(ours, network) == (reason not in ("off", "foreign"))
    behind_a_full_link = at_first_plane(ours, network, spans, n_unanswered=n_unanswered, link_is_full=True)
    assert (behind_a_full_link and behind_a_full_link.reason) == (reason or "slow-link")


def test_a_range_that_is_not_known_names_the_setting() -> None:
    config = RestoreConfig(normalise=NormaliseConfig(mode="ema"))
    choice = at_first_plane(config, card(), {0: OPEN}, n_unanswered=0)
    assert "normalise.mode is ema" in str(choice)


@pytest.mark.parametrize(
    ("plane_s", "free_bytes", "kind", "reason"),
    [(0.1, TIB, "stream", "sooner"), (1e-6, TIB, "whole", "not-sooner"), (0.1, 1 << 10, "whole", "no-memory")],
    ids=["pays", "too-fast", "no-memory"],
)
def test_what_inference_decides(prepared: FieldPlan, plane_s: float, free_bytes: int, kind: str, reason: str) -> None:
    choice = decide(prepared, RestoreConfig(), plane_s=plane_s, free_bytes=free_bytes)
    assert (choice.kind, choice.reason) == (kind, reason)
    if reason == "no-memory":
        assert choice.figures["need_mib"] == prepared.peak_bytes >> 20
    else:
        assert (choice.figures["streamed_ms"] < 0.9 * choice.figures["whole_ms"]) == (kind == "stream")


def test_what_was_asked_for_is_not_weighed(prepared: FieldPlan) -> None:
    choice = decide(prepared, RestoreConfig(streaming="on"), plane_s=1e-6, free_bytes=0)
    assert (choice.kind, choice.reason) == ("stream", "asked")
    assert decide(None, RestoreConfig(), plane_s=1e-6, free_bytes=0).reason == "no-other-planes"
    assert decide(whole("task"), RestoreConfig(streaming="on"), plane_s=1.0, free_bytes=TIB) == whole("task")


def test_a_slow_machine_may_decide_otherwise(prepared: FieldPlan) -> None:
    slow = cost.Speed()
    slow.note(1, 1e6)
    assert decide(prepared, RestoreConfig(), plane_s=0.1, free_bytes=TIB, speed=slow).reason == "not-sooner"


def test_what_breaks_a_stream_is_said_by_the_library() -> None:
    assert str(broken(RestoreError("step 3 failed"))) == "its stream failed: step 3 failed"
    assert str(broken(MemoryError())) == "its stream failed: memory ran out"
    assert broken(OutOfMemoryError("no")).kind == "whole"


def test_the_first_reason_holds_and_a_new_process_has_none() -> None:
    assert given_up(whole("task"), whole("plane-missing")) == whole("task")
    assert given_up(None, whole("plane-missing")) == whole("plane-missing")
    assert given_up(None, None) == whole("restarted")
