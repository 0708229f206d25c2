"""A journal read in every state of being written."""

from __future__ import annotations

from care_live.images import VolumeKey
from care_live.recorded.journal_lines import JOURNAL_NAME
from care_live.store.journal_tail import JournalTail
from tests.make.stored import make_volume, open_writer


def test_a_line_seen_in_every_state_of_being_written_is_read_once(tmp_path):
    writer = open_writer(tmp_path)
    for t in range(2):
        writer.write_raw(make_volume(VolumeKey(t)))
    writer.close()
    whole = (tmp_path / "run" / JOURNAL_NAME).read_bytes()
    lines = whole.splitlines()
    (tmp_path / "other").mkdir()
    tail, read = JournalTail(tmp_path / "other"), []
    for n in range(len(whole) + 1):
        (tmp_path / "other" / JOURNAL_NAME).write_bytes(whole[:n])
        read += tail.look().records
    assert len(read) == len(lines)
    assert all(record in line for record, line in zip(read, lines, strict=True))
