"""Who gets in: the token, the cookie, the page's own origin, and nothing outside the run's folder."""

from __future__ import annotations

import pytest

from care_live.errors import ConfigError, ProtocolError
from care_live.viewer.web import access, requests
from tests.make.scenes import TOKEN


@pytest.mark.parametrize(
    ("bind", "expected"),
    [("127.0.0.1:5794", ("127.0.0.1", 5794)), ("[::1]:0", ("::1", 0)), ("localhost:80", ("localhost", 80))],
)
def test_bind_addresses(bind, expected):
    assert access.parse_bind(bind) == expected


@pytest.mark.parametrize("bind", ["5794", "127.0.0.1", "127.0.0.1:99999", "a b:1", ""])
def test_what_is_no_address_is_refused(bind):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        access.parse_bind(bind)


def test_only_loopback_makes_its_own_token(tmp_path):
    assert access.TOKEN.fullmatch(access.choose_token("127.0.0.1", None))
    with pytest.raises(ConfigError, match="--token-file"):
        access.choose_token("0.0.0.0", None)
    file = tmp_path / "token"
    file.write_text("too short")
    with pytest.raises(ConfigError, match="16-128"):
        access.choose_token("0.0.0.0", file)
    file.write_text(TOKEN + "\n")
    assert access.choose_token("0.0.0.0", file) == TOKEN


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://127.0.0.1:5794", "127.0.0.1:5794", True),
        ("http://127.0.0.1:5795", "127.0.0.1:5794", False),
        ("http://evil.example", "127.0.0.1:5794", False),
        ("null", "127.0.0.1:5794", False),
        (None, "127.0.0.1:5794", False),
        ("file://127.0.0.1:5794", "127.0.0.1:5794", False),
    ],
)
def test_only_the_pages_own_origin(origin, host, allowed):
    assert access.same_origin(origin, host) is allowed


@pytest.mark.parametrize(
    "path",
    ["../secret", "a/../../secret", "/etc/passwd", "..\\secret", ".hidden", "a/.hidden", "link/secret", "a\0b", ""],
)
def test_no_path_leads_out_of_the_run(tmp_path, path):
    run = tmp_path / "run"
    (run / "a").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (run / ".hidden").write_text("secret")
    (run / "link").symlink_to(tmp_path)
    assert access.inside(run, path) is None


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"op":"view","mode":"all"}', '{"op":"view","zoom":1}', '{"op":"credit","n":3}',
     '{"op":"probe","t":-1,"p":0,"z":0,"y":0,"x":0}', '{"op":"view","t":1e99}', "[" * 4000, "x" * 5000],
    ids=lambda text: text[:24] or "empty",
)  # fmt: skip
def test_strange_requests_are_refused(text):
    with pytest.raises(ProtocolError):
        requests.parse(text)
