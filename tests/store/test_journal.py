"""Laws of the journal: what is cut off or flipped is never taken for a record."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_live.errors import StoreError
from care_live.recorded.journal_lines import decode, encode, scan
from care_live.store.journal import Journal

records = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=30).map(
        lambda text: json.dumps([text], ensure_ascii=False).encode()
    ),
    max_size=6,
)
"""JSON, as the journal's are: of a line that is cut off nothing is whole, and then goes on."""


@given(st.binary(max_size=50).filter(lambda record: b"\n" not in record))
def test_decode_undoes_encode(record):
    assert decode(encode(record)) == record


@given(records, st.data())
def test_a_journal_cut_anywhere_holds_the_records_before_the_cut(texts, data):
    lines = [encode(text) for text in texts]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    n_whole = sum(len(b"".join(lines[: n + 1])) <= cut for n in range(len(lines)))
    assert found.records == tuple(texts[:n_whole])
    assert found.n_whole_bytes + found.torn_bytes == cut
    assert found.damaged_lines == ()


@given(records.filter(bool), st.data())
@settings(max_examples=100)
def test_a_flipped_bit_takes_its_own_line_and_no_other(texts, data):
    whole = bytearray(b"".join(encode(text) for text in texts))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(whole))
    assert len(texts) - len(found.records) in (1, 2)  # two, when the newline between them was hit
    rest = iter(texts)
    assert all(record in rest for record in found.records)  # in order, each as it was written


def test_appended_records_are_there_when_it_is_opened_again(tmp_path):
    journal = Journal(tmp_path)
    journal.append(b'{"a":1}')
    journal.append(b'{"b":2}')
    journal.close()
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(encode(b'{"c":3}')[:-3])
    again = Journal(tmp_path)
    assert again.records == (b'{"a":1}', b'{"b":2}')
    assert again.is_torn
    again.append(b'{"d":4}')
    again.close()
    assert scan((tmp_path / "journal.jsonl").read_bytes()).records == (b'{"a":1}', b'{"b":2}', b'{"d":4}')


objects = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), min_size=1, max_size=6)


@given(objects, st.data())
@settings(max_examples=200)
def test_a_flipped_bit_is_damage_wherever_it_is(values, data):
    """Also in the last line, and in its newline: it was whole, so it may have been acknowledged."""
    whole = bytearray(b"".join(encode(json.dumps(value).encode()) for value in values))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert scan(bytes(whole)).damaged_lines


@given(objects, st.data(), st.integers(0, 64))
@settings(max_examples=200)
def test_a_line_that_was_cut_off_is_no_damage_even_with_zeros_behind_it(values, data, n_zeros):
    *lines, last = [encode(json.dumps(value).encode()) for value in values]
    cut = data.draw(st.integers(0, len(last) - 2))
    found = scan(b"".join(lines) + last[:cut] + bytes(n_zeros))
    assert (len(found.records), found.damaged_lines) == (len(lines), ())
    assert found.torn_bytes == cut + n_zeros


def test_zeros_in_whole_lines_are_damage():
    line = encode(b'{"a":1}')
    assert scan(line + bytes(9) + line).damaged_lines == (2,)


def test_a_damaged_journal_is_refused_and_not_changed(tmp_path):
    whole = encode(b'{"a":1}') + encode(b'{"b":2}').replace(b"2", b"3") + b'{"crc32c":"01'
    (tmp_path / "journal.jsonl").write_bytes(whole)
    with pytest.raises(StoreError, match="is damaged at line 2; the run can be read but not continued, and nothing"):
        Journal(tmp_path)
    assert (tmp_path / "journal.jsonl").read_bytes() == whole


def test_a_torn_tail_stays_until_something_is_appended(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(encode(b'{"a":1}') + b'{"crc')
    Journal(tmp_path).close()
    assert path.read_bytes().endswith(b'{"crc')
    journal = Journal(tmp_path)
    journal.append(b'{"b":2}')
    journal.close()
    assert path.read_bytes() == encode(b'{"a":1}') + encode(b'{"b":2}')


@pytest.mark.parametrize("call", ["write", "fsync", "ftruncate"])
def test_what_a_failed_append_left_is_cut_off_before_the_next_one(tmp_path, monkeypatch, call):
    """Even where cutting it off fails at first; and lines that were not synced are written anew after a failed sync."""
    journal = Journal(tmp_path)
    journal.append(b'{"a":1}')
    journal.append(b'{"b":2}', sync=False)
    with monkeypatch.context() as broken:
        for name in {"fsync", "ftruncate", call}:
            broken.setattr(os, name, refuse)
        for _ in range(2):
            with pytest.raises(StoreError, match="Input/output error"):
                journal.append(b'{"c":3}')
    assert journal.is_torn
    journal.append(b'{"d":4}')
    journal.close()
    assert scan((tmp_path / "journal.jsonl").read_bytes()).records == (b'{"a":1}', b'{"b":2}', b'{"d":4}')


def test_the_same_line_twice_is_kept_once_when_the_second_fails(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append(b'{"a":1}', sync=False)
    with monkeypatch.context() as broken, pytest.raises(StoreError):
        broken.setattr(os, "write", refuse)
        journal.append(b'{"a":1}', sync=False)
    journal.close()
    assert scan((tmp_path / "journal.jsonl").read_bytes()).records == (b'{"a":1}',)


def refuse(*_: object) -> int:
    raise OSError(5, "Input/output error")
