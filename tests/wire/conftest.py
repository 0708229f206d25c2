"""Fixtures that several test files of the room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from care_live.wire.relay import Budget
from tests.make.doors import Server


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Server]:
    opened = Server(getattr(request, "param", Budget()))
    yield opened
    opened.close()
