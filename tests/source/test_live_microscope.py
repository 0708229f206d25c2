"""A virtual microscope in Live, in a process of its own: what becomes of an order, and of the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import psutil
import pytest

from care_live.config import VirtualConfig
from care_live.errors import ConfigError, SourceError
from care_live.source.live_link import LiveLink
from care_live.source.live_microscope import LiveMicroscope
from tests.make.processes import children
from tests.make.waiting import until

pytestmark = [pytest.mark.mm, pytest.mark.slow]
WAIT_S = 240.0
NOWHERE = "tcp://127.0.0.1:9"


@pytest.fixture(scope="module")
def link() -> Iterator[LiveLink]:
    with closing(LiveLink("tcp://127.0.0.1:0")) as opened:
        yield opened


@pytest.fixture
def microscope(link: LiveLink) -> Iterator[LiveMicroscope]:
    config = VirtualConfig.model_validate({"shape_px": (64, 64)})
    opened = LiveMicroscope(config, address=link.address, address_of_runs=NOWHERE)
    yield opened
    opened.close()


def test_an_order_is_carried_out_or_its_sender_learns_why_not_also_of_a_killed_one(
    link: LiveLink, microscope: LiveMicroscope
) -> None:
    said: list[str] = []

    def moved() -> bool:
        """While it starts, orders wait longer than their sender."""
        said.append(microscope.move({"z_um": 3.0}))
        return said[-1].startswith("done:")

    until(moved, WAIT_S)
    assert said[-1] == 'done: {"z_um":3.0}'
    assert all(one in ('done: {"z_um":3.0}', 'ordered, and not done yet: {"z_um":3.0}') for one in said)
    until(lambda: (frame := link.frames.take(1.0)) is not None and frame.conditions.z_um == 3.0, WAIT_S)
    with pytest.raises(ConfigError, match="the order is invalid"):
        microscope.move({"zoom": 2})
    with pytest.raises(SourceError, match=r'did not carry out \{"laser":500000.0\}: .*LaserPower'):
        until(lambda: microscope.move({"laser": 5e5}) == "", WAIT_S)
    assert microscope.why_ended() == ""
    check_that_a_killed_one_is_said(microscope)


def check_that_a_killed_one_is_said(microscope: LiveMicroscope) -> None:
    for child in children(with_words="care_live.source.live_run"):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    until(microscope.why_ended, WAIT_S)
    assert microscope.why_ended().startswith("the microscope has ended (exit code ")
    with pytest.raises(SourceError, match="the microscope has ended"):
        microscope.move({"z_um": 1.0})


def test_a_microscope_that_cannot_start_says_why(link: LiveLink) -> None:
    config = VirtualConfig.model_validate({"shape_px": (64, 64)})
    microscope = LiveMicroscope(config, address="nonsense", address_of_runs=NOWHERE)
    try:
        until(microscope.why_ended, WAIT_S)
        assert "nonsense" in microscope.why_ended()
    finally:
        microscope.close()
