"""An acquisition behind a name that is taken: it goes on with its own run, and begins a new one beside another's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from care_live.config import StoreConfig
from care_live.daemon.run_after_run import claim_begun
from care_live.errors import StoreError
from care_live.images import Frame, RunEnded, RunStarted, VolumeKey
from care_live.store import RunReader, open_run
from tests.make.scripted import SHAPE, Scripted, frames, plan
from tests.make.stored import make_volume


def begun(tap: str, n: int = 2) -> RunStarted:
    return RunStarted("evening", plan([VolumeKey(t) for t in range(n)]), tap=tap)


def interrupted(folder: Path) -> StoreConfig:
    """Leave a run that one acquisition has begun."""
    config = StoreConfig(directory=folder, keep_free_mib=0)
    with closing(open_run(config, begun("first"))) as writer:
        writer.write_raw(make_volume(shape=SHAPE))
    return config


def test_the_interrupted_acquisition_goes_on_in_its_run(tmp_path: Path) -> None:
    source = Scripted(iter(()))
    claim, same, started = claim_begun(interrupted(tmp_path), source, begun("first"), resume=True)
    claim.close()
    assert (same, started.run_id) == (source, "evening")


def test_another_acquisition_begins_a_run_of_its_own(tmp_path: Path) -> None:
    config = interrupted(tmp_path)
    source = Scripted(frames(VolumeKey(0), run_id="evening"))
    claim, renamed, started = claim_begun(config, source, begun("second"), resume=True)
    with closing(open_run(config, started, claim=claim)) as writer:
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
