"""Fields of messages: absent ones, and those of newer daemons."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from care_live.errors import ProtocolError
from care_live.wire import arrays, cl1
from care_live.wire.arrays import Buffer
from care_live.wire.messages import Fetch, VolumeMessage
from tests.make import messages


def raw_parts(message: Any, buffers: list[Buffer]) -> list[bytes]:
    return [bytes(arrays.as_bytes(part)) for part in cl1.encode(message, buffers)]


def test_null_is_the_same_as_absent_within_records_too_and_is_kept_where_it_means_something() -> None:
    for view in (b'{"level":null,"products":null,"origin_px":null}', b"null", b'{"shape_px":null}'):
        fetch = cl1.decode_request([b'{"protocol":"cl1","type":"fetch","key":[1,0,0],"view":%s}' % view])
        assert fetch == Fetch(key=(1, 0, 0))
    with pytest.raises(ProtocolError, match="key"):
        cl1.decode_request([b'{"protocol":"cl1","type":"fetch","key":null}'])
    said = msgspec.json.decode(cl1.encode(messages.NOTES["heartbeat"])[0])
    said["status"]["planes_lost"] = said["status"]["note"] = said["n_watchers"] = said["run"] = said["model"] = None
    heartbeat, _ = cl1.decode([msgspec.json.encode(said)])
    assert (heartbeat.run, heartbeat.model, heartbeat.n_watchers) == (None, None, 0)  # type: ignore[union-attr]
    assert heartbeat.status.planes_lost == 0  # type: ignore[union-attr]


def test_a_flag_that_only_a_newer_daemon_knows_is_kept() -> None:
    parts = raw_parts(*messages.volume())
    tree = msgspec.json.decode(parts[0]) | {"flags": ["saturated", "drifted"]}
    decoded, _ = cl1.decode([msgspec.json.encode(tree), *parts[1:]])
    assert isinstance(decoded, VolumeMessage) and decoded.flags == ("saturated", "drifted")
