"""What a browser may ask for; anything else is refused by name."""

from __future__ import annotations

import pytest

from care_live.errors import ProtocolError
from care_live.viewer.web.requests import CREDIT, Credit, PagePing, PageView, Probe, parse


def test_what_the_page_sends_is_understood() -> None:
    assert parse('{"op": "view", "revision": 3, "mode": "ortho", "z": 7}') == PageView(3, "ortho", z=7)
    assert parse('{"op": "credit", "n": 2}') == Credit(2)
    assert parse('{"op": "probe", "t": 1, "p": 0, "z": 2, "y": 3, "x": 4}') == Probe(1, 0, 2, 3, 4, 0.9)
    assert parse('{"op": "ping", "sent_ms": 1.5}') == PagePing(1.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"op": "shutdown"}',
        '{"op": "view", "path": "/etc/passwd"}',
        '{"op": "view", "z": -1}',
        '{"op": "view", "z": 4294967296}',
        '{"op": "view", "mode": "everything"}',
        f'{{"op": "credit", "n": {CREDIT + 1}}}',
        '{"op": "probe", "t": 0, "p": 0, "z": 0, "y": 0, "x": 0, "level": 1}',
        '{"op": "ping", "sent_ms": 0, "pad": "' + "x" * 5000 + '"}',
        '{"op": "view"' + " " * 5000 + "}",
    ],
    ids=[
        "empty",
        "a list",
        "unknown",
        "unknown field",
        "negative",
        "huge",
        "no mode",
        "credit",
        "level",
        "pad",
        "long",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"^request "):
        parse(text)
