"""An acquisition behind a name that is taken: it goes on with its own run, and begins a new one beside another's."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import pytest

from care_live.config import StoreConfig
from care_live.daemon import run as daemon_run
from care_live.daemon.run import Daemon
from care_live.daemon.run_after_run import claim_begun
from care_live.errors import StoreError
from care_live.images import Frame, RunEnded, RunStarted, VolumeKey
from care_live.store import RunReader, open_run
from tests.make.runs import config
from tests.make.scripted import SHAPE, Scripted, frames, plan
from tests.make.stored import make_volume


def begun(tap: str, n: int = 2) -> RunStarted:
    return RunStarted("evening", plan([VolumeKey(t) for t in range(n)]), tap=tap)


def interrupted(folder: Path) -> StoreConfig:
    """Leave a run that one acquisition has begun."""
    store = StoreConfig(directory=folder, keep_free_mib=0)
    with closing(open_run(store, begun("first"))) as writer:
        writer.write_raw(make_volume(shape=SHAPE))
    return store


def test_the_interrupted_acquisition_goes_on_in_its_run(tmp_path: Path) -> None:
    source = Scripted(iter(()))
    claim, same, started = claim_begun(interrupted(tmp_path), source, begun("first"), resume=True)
    claim.close()
    assert (same, started.run_id) == (source, "evening")


def test_another_acquisition_begins_a_run_of_its_own(tmp_path: Path) -> None:
    store = interrupted(tmp_path)
    source = Scripted(frames(VolumeKey(0), run_id="evening"))
    claim, renamed, started = claim_begun(store, source, begun("second"), resume=True)
    with closing(open_run(store, started, claim=claim)) as writer:
        assert started.run_id == "evening-2"
        events = [renamed.next_event(1.0) for _ in range(SHAPE[0] + 1)]
        assert {event.run_id for event in events if isinstance(event, Frame)} == {"evening-2"}
        assert isinstance(events[-1], RunEnded)
        writer.write_raw(make_volume(shape=SHAPE))
    assert RunReader(tmp_path / "evening").keys("raw") == [VolumeKey(0)]
    renamed.stop()
    renamed.close()
    assert source.closed.is_set()


def test_a_store_that_takes_no_run_is_refused_under_every_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(StoreError, match="cannot create run folder"):
        claim_begun(StoreConfig(directory=tmp_path / "file"), Scripted(iter(())), begun("first"), resume=True)


@pytest.mark.slow
def test_a_daemon_of_live_records_it_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path / "runs")
    script = itertools.chain([begun("second", n=1)], frames(VolumeKey(0), run_id="evening"))
    monkeypatch.setattr(daemon_run, "open_remaining", lambda *_: Scripted(script))
    settings = config(tmp_path, {"kind": "live"}).model_copy(update={"resume": True})
    status = Daemon(settings, "evening").run()
    assert (status.run_id, status.stored_raw, status.restored, status.shortfalls) == ("evening-2", 1, 1, ())
    assert RunReader(tmp_path / "runs" / "evening-2").keys("restored") == [VolumeKey(0)]
