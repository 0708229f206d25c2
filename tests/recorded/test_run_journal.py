"""What a reader takes from a run's journal: the plan, as far as the run came, and what is stored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from care_live.errors import SourceError
from care_live.images import Plan, RunStarted, VolumeKey
from care_live.recorded.journal_lines import JOURNAL_NAME, encode
from care_live.recorded.run_journal import read_run, run_of
from care_live.recorded.run_records import (
    RawStored,
    Record,
    RunBegan,
    RunEndNoted,
    RunResumed,
    StoredArray,
    to_json,
)
from tests.make.stored import make_volume

PLANES = (0, 1, 2)
ARRAY = StoredArray(crc32c=0, shape=(3, 4, 5), dtype="uint16", file_bytes=120)
ENDED = RunEndNoted(reason="finished", detail="", n_delivered=9, n_refused=0)


def began(*, endless: bool = False) -> RunBegan:
    plan = Plan({VolumeKey(t): PLANES for t in range(3)}, (4, 5), endless=endless)
    return RunBegan.of(RunStarted("run", plan, {"plate": {"wells": 2}}), care_live="1", at_us=0)


def stored(t: int) -> RawStored:
    return RawStored.of(make_volume(VolumeKey(t)), ARRAY)


def journal(folder: Path, records: Iterable[Record], torn: bytes = b"") -> Path:
    (folder / JOURNAL_NAME).write_bytes(b"".join(encode(to_json(record)) for record in records) + torn)
    return folder


def times(run: Path) -> list[int]:
    return sorted(key.t for key in read_run(run).plan.stacks)


def test_a_run_that_finished_has_its_whole_plan(tmp_path: Path) -> None:
    contents = read_run(journal(tmp_path, [began(), stored(0), ENDED]))
    assert sorted(key.t for key in contents.plan.stacks) == [0, 1, 2]
    assert list(contents.stored) == [VolumeKey(0)]
    assert contents.plate == {"wells": 2}


def test_one_that_did_not_finish_has_it_up_to_what_is_stored(tmp_path: Path) -> None:
    assert times(journal(tmp_path, [began(), stored(0), stored(1)])) == [0, 1]
    resumed = RunResumed(care_live="1", at_us=1)
    assert times(journal(tmp_path, [began(), stored(0), ENDED, resumed])) == [0]
    assert times(journal(tmp_path, [began()])) == []


def test_a_run_without_end_has_what_is_stored(tmp_path: Path) -> None:
    contents = read_run(journal(tmp_path, [began(endless=True), stored(1), ENDED]))
    assert list(contents.plan.stacks) == [VolumeKey(1)] and not contents.plan.endless


def test_a_torn_line_acknowledges_nothing(tmp_path: Path) -> None:
    line = encode(to_json(stored(1)))
    assert list(read_run(journal(tmp_path, [began(), stored(0)], line[:-10])).stored) == [VolumeKey(0)]


def test_a_journal_without_its_beginning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not say how the run began: run `care-live verify"):
        read_run(journal(tmp_path, [stored(0)]))


def test_the_run_is_found_from_its_images(tmp_path: Path) -> None:
    run = journal(tmp_path, [began()])
    (run / "raw" / "p0").mkdir(parents=True)
    assert run_of(run) == run_of(run / "raw") == run_of(run / "raw" / "p0") == run
    assert run_of(run / "restored" / "p0") is None
