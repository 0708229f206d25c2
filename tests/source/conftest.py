"""A source that waits for a tap."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from care_live.config import RemoteConfig
from care_live.source.remote import Remote


@pytest.fixture
def remote() -> Iterator[Remote]:
    opened = Remote(RemoteConfig(bind="tcp://127.0.0.1:0"), run_id="run")
    yield opened
    opened.close()
