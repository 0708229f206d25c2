"""The address of a Dask scheduler, and one that listens and does not answer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from care_live.errors import ConfigError
from care_live.wire.scheduler_address import address_of, must_answer, place_of


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("tcp://10.0.0.7:8786", ("10.0.0.7", 8786)),
        ("tls://head.cluster:1", ("head.cluster", 1)),
        ("tcp://[fe80::1]:9000", ("fe80::1", 9000)),
        ("tcp://head", ("head", 0)),
        ("nonsense", ("", 0)),
    ],
)
def test_the_place_of_an_address(address: str, place: tuple[str, int]) -> None:
    assert place_of(address) == place


def test_the_address_is_the_name_itself_or_lies_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "scheduler.json").write_text('{"type": "Scheduler", "address": "tcp://10.0.0.7:8786"}')
    assert address_of("tls://head:1") == "tls://head:1"
    assert address_of(tmp_path / "scheduler.json") == address_of(str(tmp_path / "scheduler.json"))


@pytest.mark.slow
def test_what_listens_and_is_silent_is_refused_in_time() -> None:
    """So is a scheduler that hangs: Dask's own client waits for it without an end."""
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    late = pytest.raises(OSError, match=r"something listens there, and does not answer within 0\.2 s")
    with socket.create_server(("127.0.0.1", 0)) as silent, late:
        must_answer(f"tcp://127.0.0.1:{silent.getsockname()[1]}", 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "why"),
    [(None, "names no certificates: set ca-file"), ("absent.pem", "cannot be read: .*; set ca-file")],
    ids=["none", "absent"],
)
def test_tls_without_certificates_is_said_in_words(file: str | None, why: str) -> None:
    config = pytest.importorskip("dask.config", reason="Dask is not installed: pip install 'care-live[cluster]'")
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    named = {f"distributed.comm.tls.{name}": file for name in ("ca-file", "client.cert", "client.key")}
    with socket.create_server(("127.0.0.1", 0)) as other, config.set(named), pytest.raises(ConfigError, match=why):
        must_answer(f"tls://127.0.0.1:{other.getsockname()[1]}", 60.0)


def test_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no other program gets it
        with pytest.raises(OSError):
            must_answer(f"tcp://127.0.0.1:{taken.getsockname()[1]}", 60.0)
