"""A daemon that is refused never asks its source for an event: until then a microscope exposes nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from care_live.config import Config, RestoreConfig
from care_live.daemon import run as daemon_run
from care_live.daemon.run import Daemon
from care_live.errors import CareLiveError
from care_live.images import RunEnded, VolumeKey
from care_live.store import claim_run, open_run
from tests.make.runs import config
from tests.make.scripted import Script, Scripted, plan, started

pytestmark = [pytest.mark.slow]
PLAN = plan([VolumeKey(0)])


@contextlib.contextmanager
def taken(address: str) -> Iterator[None]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    with socket.create_server((host, int(port))):
        yield


@contextlib.contextmanager
def obstacle(name: str, settings: Config) -> Iterator[Config]:
    """Put something into a run's way; give the settings of the run."""
    with contextlib.ExitStack() as held:
        match name:
            case "publish.bind" | "publish.bind_pull":
                held.enter_context(taken(getattr(settings.publish, name.removeprefix("publish."))))
            case "status_bind":
                held.enter_context(taken(settings.daemon.status_bind))
            case "another writer":
                held.callback(claim_run(settings.store, "test").close)
            case "a finished run":
                writer = open_run(settings.store, started(PLAN))
                writer.note(RunEnded("finished"))
                writer.close()
            case "a bad model":
                bad = settings.store.directory.with_name("bad.onnx")
                bad.write_bytes(b"no network")
                settings = settings.model_copy(update={"restore": settings.restore.model_copy(update={"model": bad})})
            case "a channel that does not come":
                named = {"channel": [{"name": "Cy5", "model": str(settings.restore.model)}], "provider": "cpu"}
                settings = settings.model_copy(update={"restore": RestoreConfig.model_validate(named)})
            case "a full disk":
                full = settings.store.model_copy(update={"keep_free_mib": 2**40})
                settings = settings.model_copy(update={"store": full})
        yield settings


@pytest.mark.parametrize(
    "name",
    [
        "publish.bind",
        "publish.bind_pull",
        "status_bind",
        "another writer",
        "a finished run",
        "a bad model",
        "a channel that does not come",
        "a full disk",
    ],
)
def test_what_is_refused_exposes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: list[str] = []

    def script() -> Script:
        asked.append("an event")
        yield started(PLAN)

    monkeypatch.setattr(daemon_run, "open_remaining", lambda *_: Scripted(script()))
    with obstacle(name, config(tmp_path, {"kind": "virtual"})) as settings, pytest.raises(CareLiveError):
        Daemon(settings, "test").run()
    assert asked == []
