"""A publisher with a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from care_live.publish.publisher import Publisher
from tests.make import samples


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(samples.config()) as published:
        published.start(samples.started(), samples.NETWORK)
        yield published
